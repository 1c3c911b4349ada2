//! The 1,024 words that codes, passphrases and safety codes are made of.
//!
//! The list is this project's own. The words are common English nouns, verbs and adjectives of four to eight letters,
//! without any that one would not like to read aloud to another person. No two begin with the same four letters, so
//! that four are enough to name one; and no two are one mistake apart (a letter wrong, missing, added or swapped with its
//! neighbour), so that a slip of the keyboard is noticed and is not another word.

/// How many words there are; each is worth ten bits.
pub(crate) const WORD_COUNT: usize = 1024;

/// Letters that are enough to name a word.
const ENOUGH_LETTERS: usize = 4;

/// The word of this number, which wraps around at [`WORD_COUNT`].
pub(crate) fn word(number: u16) -> &'static str {
    WORDS[usize::from(number) % WORD_COUNT]
}

/// The number of the word that `text` names: whole, or by its first four letters and perhaps some more, in any case.
pub(crate) fn number_of(text: &str) -> Option<u16> {
    // The longest word has eight letters; what is longer is not copied.
    if !text.is_ascii() || !(ENOUGH_LETTERS..=8).contains(&text.len()) {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let place = WORDS.partition_point(|word| *word < text.as_str());
    let found = WORDS.get(place)?.starts_with(&text).then_some(place)?;
    u16::try_from(found).ok()
}

/// In alphabetical order.
#[rustfmt::skip]
const WORDS: [&str; WORD_COUNT] = [
    "able", "acid", "actor", "adapt", "admiral", "adult", "advice", "affair", "afford", "agenda", "agree", "airport",
    "alarm", "album", "alert", "alien", "alley", "almond", "alpine", "amber", "amount", "amuse", "anchor", "angle",
    "animal", "annual", "answer", "antique", "anvil", "apple", "april", "apron", "arcade", "arch", "arctic", "arena",
    "argue", "armor", "arrow", "artist", "ashes", "aspect", "atlas", "atom", "attic", "auburn", "august", "aunt",
    "author", "autumn", "avenue", "avocado", "awake", "award", "baby", "bacon", "badge", "bagel", "baker", "balance",
    "ballet", "bamboo", "banana", "banjo", "banner", "barber", "bargain", "barley", "barn", "barrel", "basil",
    "basket", "bath", "battery", "beard", "beaver", "because", "bedroom", "beetle", "before", "begin", "behave",
    "belief", "bell", "bench", "berry", "better", "beyond", "bicycle", "bike", "billion", "biology", "birch", "bird",
    "biscuit", "bison", "blanket", "blaze", "blend", "blimp", "blossom", "blue", "boat", "body", "boil", "bonfire",
    "book", "boost", "border", "bottle", "boulder", "bounce", "boxer", "brain", "branch", "brave", "bread", "breeze",
    "brick", "bridge", "bright", "bronze", "brother", "brown", "brush", "bubble", "bucket", "budget", "buffalo",
    "build", "bulb", "bunny", "burger", "burst", "button", "buzz", "cabbage", "cabin", "cactus", "cake", "calcium",
    "calm", "camel", "campus", "canal", "candle", "canoe", "canvas", "canyon", "capital", "captain", "caravan",
    "carbon", "cargo", "carpet", "carrot", "cartoon", "cashew", "castle", "caution", "cedar", "celery", "cellar",
    "cement", "census", "center", "ceramic", "cereal", "chalk", "change", "chapter", "charm", "chase", "cheese",
    "chef", "cherry", "chess", "chicken", "chimney", "chips", "choice", "chorus", "chrome", "cinema", "circle",
    "citizen", "citrus", "city", "clay", "clean", "clever", "cliff", "climb", "clinic", "cloak", "cloud", "club",
    "cobalt", "cobra", "cocoa", "code", "coffee", "college", "column", "comedy", "common", "compass", "concert",
    "condor", "contest", "cookie", "copper", "coral", "corner", "cosmic", "cotton", "couch", "council", "courage",
    "cousin", "cover", "cowboy", "cozy", "crab", "cradle", "crane", "crater", "crayon", "cream", "credit", "creek",
    "cricket", "crisp", "crowd", "cruise", "crystal", "cube", "cuckoo", "culture", "current", "curtain", "cushion",
    "custard", "cycle", "cymbal", "dairy", "dancer", "daring", "date", "dawn", "debate", "decade", "deer", "define",
    "degree", "delta", "dentist", "depth", "desert", "design", "desk", "detail", "device", "dial", "diamond",
    "diesel", "digital", "dinner", "diploma", "direct", "dish", "distant", "divide", "doctor", "dolphin", "domain",
    "donkey", "door", "double", "dough", "dove", "draft", "dragon", "drama", "dress", "drink", "drum", "duck",
    "duet", "dune", "duty", "dwarf", "dynamo", "eager", "eagle", "early", "earth", "east", "echo", "eclipse",
    "economy", "edge", "editor", "effort", "eight", "elastic", "elbow", "elder", "elegant", "element", "elite",
    "embark", "emerald", "empire", "empty", "enamel", "energy", "engine", "enjoy", "enough", "ensign", "entire",
    "episode", "equal", "eraser", "errand", "escape", "essay", "estate", "eternal", "evening", "exact", "exam",
    "exhibit", "exotic", "expert", "extra", "eyebrow", "fabric", "face", "faculty", "falcon", "family", "famous",
    "fancy", "farmer", "fashion", "father", "favor", "feature", "federal", "fence", "fern", "fiber", "fiction",
    "field", "fiesta", "figure", "film", "filter", "final", "finger", "finish", "fire", "first", "flag", "flame",
    "flash", "fleet", "flight", "float", "floor", "flower", "fluid", "flute", "focus", "folder", "follow", "food",
    "forest", "fork", "formal", "fortune", "forum", "fossil", "freedom", "fresh", "friday", "friend", "frog",
    "front", "fruit", "fuel", "future", "gadget", "galaxy", "gallery", "game", "garage", "garden", "garlic",
    "gazelle", "general", "genius", "gentle", "geology", "giant", "gift", "giraffe", "glacier", "glad", "glass",
    "glide", "globe", "glory", "gold", "gondola", "gorilla", "gossip", "gourmet", "gown", "grace", "gravity",
    "great", "green", "grid", "grocery", "group", "grove", "growth", "guard", "guess", "guitar", "gulf", "guru",
    "habit", "hair", "half", "hamlet", "hammer", "hand", "happy", "harbor", "harvest", "hawk", "hazel", "head",
    "health", "heart", "heavy", "helmet", "help", "herb", "hidden", "high", "hill", "hint", "hippo", "history",
    "hobby", "hockey", "holiday", "home", "honey", "horizon", "horn", "horse", "host", "hotel", "hour", "huge",
    "human", "humble", "hunter", "hurdle", "hybrid", "iceberg", "icon", "idea", "igloo", "image", "impact", "import",
    "impulse", "inch", "income", "index", "indigo", "input", "insect", "inside", "instant", "invite", "iris",
    "island", "ivory", "jacket", "jaguar", "january", "jazz", "jeans", "jelly", "jester", "jewel", "jigsaw", "join",
    "joke", "journey", "judge", "juice", "july", "jumbo", "jump", "jungle", "junior", "justice", "kayak", "keen",
    "kernel", "kettle", "kick", "kind", "kingdom", "kitchen", "kite", "kitten", "kiwi", "knee", "knight", "knot",
    "koala", "label", "ladder", "lagoon", "lamp", "lantern", "laptop", "large", "laser", "laugh", "laundry", "lava",
    "lazy", "leader", "leaf", "league", "learn", "leather", "lecture", "legend", "leisure", "lemon", "length",
    "lentil", "leopard", "lesson", "lettuce", "level", "liberty", "library", "license", "lilac", "limit", "linen",
    "lion", "liquid", "list", "little", "lizard", "lobster", "local", "lodge", "logic", "lonely", "long", "lotus",
    "lucky", "luggage", "lumber", "lunar", "lunch", "luxury", "lyric", "machine", "magic", "magnet", "mail", "major",
    "mammal", "mango", "maple", "marble", "margin", "marine", "market", "marvel", "mask", "master", "match",
    "meadow", "meal", "measure", "melody", "member", "memory", "mentor", "menu", "mercury", "mermaid", "message",
    "meteor", "method", "middle", "milk", "mimic", "minute", "miracle", "mirror", "mixer", "mobile", "model",
    "module", "moment", "monday", "month", "moon", "moose", "morning", "mosaic", "mother", "motor", "movie",
    "muffin", "mule", "muscle", "museum", "music", "mutual", "myself", "mystery", "myth", "napkin", "nation",
    "nature", "navy", "near", "nebula", "neck", "needle", "neon", "nephew", "nerve", "nest", "network", "never",
    "nickel", "niece", "ninja", "noble", "noise", "noodle", "north", "novel", "nugget", "nurse", "nutmeg", "nylon",
    "oasis", "oatmeal", "object", "oboe", "observe", "obtain", "ocean", "october", "office", "often", "olive",
    "olympic", "omega", "omelet", "onion", "online", "open", "opera", "opinion", "option", "orange", "orbit",
    "orchard", "organ", "origin", "ostrich", "otter", "outdoor", "oval", "owner", "oxygen", "oyster", "ozone",
    "pacific", "package", "paddle", "page", "paint", "pajamas", "palace", "panda", "panel", "panther", "paper",
    "parade", "parcel", "parent", "park", "party", "pasta", "patrol", "pause", "peace", "peanut", "pearl", "pebble",
    "pedal", "pelican", "pencil", "penguin", "people", "pepper", "perfect", "permit", "phone", "photo", "phrase",
    "piano", "picnic", "picture", "pigeon", "pillow", "pilot", "pine", "pioneer", "pirate", "pixel", "pizza",
    "planet", "plate", "player", "plenty", "plum", "pocket", "poem", "polar", "pole", "polish", "pond", "pool",
    "popcorn", "poppy", "porch", "port", "potato", "pottery", "powder", "praise", "prefer", "present", "pretty",
    "price", "problem", "proof", "prosper", "protect", "proud", "public", "pudding", "pulse", "pupil", "puppet",
    "purple", "puzzle", "pyramid", "quail", "quality", "quarter", "query", "quest", "quick", "quiet", "quiz",
    "quota", "rabbit", "raccoon", "radar", "radio", "rainbow", "raisin", "random", "rapid", "raven", "razor",
    "ready", "recipe", "record", "recycle", "reef", "reflect", "region", "relax", "remote", "rent", "repair",
    "rescue", "resort", "result", "return", "reward", "rhubarb", "rhythm", "ribbon", "ring", "ripple", "river",
    "road", "robin", "robot", "romance", "room", "rooster", "rope", "round", "route", "royal", "rubber", "ruby",
    "ruler", "rumor", "runner", "rural", "rustic", "safari", "salad", "salmon", "salt", "salute", "sample", "satin",
    "saturn", "sauce", "sausage", "scale", "scarf", "scene", "school", "science", "scout", "screen", "season",
    "second", "secret", "seed", "segment", "senior", "sense", "series", "session", "seven", "shadow", "shallow",
    "sheep", "shelf", "sheriff", "shine", "ship", "shirt", "shoe", "shower", "shrimp", "shuttle", "sibling",
    "sierra", "signal", "silent", "silver", "siren", "sister", "sketch", "slice", "slogan", "slow", "small", "smart",
    "smile", "smoke", "smooth", "snack", "snail", "soap", "soccer", "social", "soda", "soft", "soldier", "solid",
    "sonic", "south", "soybean", "space", "speak", "sphere", "spider", "spinach", "spoon", "spring", "spruce",
    "square", "squid", "stable", "stadium", "staff", "stage", "stamp", "star", "station", "steam", "steel", "stereo",
    "stick", "stone", "story", "strong", "student", "style", "subway", "sugar", "suit", "summer", "sunday", "sunset",
    "super", "surf", "sushi", "sweater", "swift", "swim", "sword", "symbol", "syrup", "system", "tablet", "taco",
    "tailor", "talent", "target", "taste", "tavern", "taxi", "teacher", "tempo", "tennis", "term", "thank",
    "theater", "theory", "thick", "third", "thread", "thumb", "thunder", "ticket", "tide", "tiger", "timber", "tiny",
    "tissue", "title", "toast", "today", "token", "tomato", "tonight", "tooth", "topic", "tornado", "total",
    "tourist", "towel", "track", "trade", "traffic", "travel", "tree", "trial", "tribe", "trophy", "trout",
    "trumpet", "trust", "tuba", "tuesday", "tulip", "tundra", "tunnel", "turbine", "turkey", "turtle", "tutor",
    "twelve", "twenty", "twin", "type", "typhoon", "ultra", "uncle", "uniform", "unique", "unit", "upper", "uranium",
    "urban", "useful", "usual", "vacuum", "valid",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether one mistake at a keyboard makes one word of the other.
    fn are_one_mistake_apart(a: &str, b: &str) -> bool {
        let (a, b) = if a.len() <= b.len() { (a.as_bytes(), b.as_bytes()) } else { (b.as_bytes(), a.as_bytes()) };
        if a.len() == b.len() {
            let differ: Vec<usize> = (0..a.len()).filter(|&at| a[at] != b[at]).collect();
            return match differ[..] {
                [_] => true,
                [one, two] => two == one + 1 && a[one] == b[two] && a[two] == b[one],
                _ => false,
            };
        }
        b.len() - a.len() == 1 && (0..b.len()).any(|left_out| [&b[..left_out], &b[left_out + 1..]].concat() == a)
    }

    #[test]
    fn no_word_is_taken_for_another() {
        assert!(are_one_mistake_apart("form", "from") && are_one_mistake_apart("boat", "boats"));
        assert!(WORDS.is_sorted());
        for (number, word) in WORDS.iter().enumerate() {
            assert!((4..=8).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
            for other in &WORDS[number + 1..] {
                assert_ne!(word[..ENOUGH_LETTERS], other[..ENOUGH_LETTERS]);
                assert!(!are_one_mistake_apart(word, other), "{word} and {other}");
            }
        }
    }

    #[test]
    fn a_word_is_named_whole_or_by_four_letters() {
        for number in 0..1024 {
            let word = word(number);
            assert_eq!(number_of(word), Some(number), "{word}");
            assert_eq!(number_of(&word[..4]), Some(number), "{word}");
            assert_eq!(number_of(&word.to_uppercase()), Some(number), "{word}");
            assert_eq!(number_of(&word[..3]), None, "{word}");
            assert_eq!(number_of(&format!("{word}x")), None, "{word}");
        }
        assert_eq!(number_of(""), None);
        assert_eq!(number_of("zzzz"), None);
        assert_eq!(number_of("appleé"), None);
        assert_eq!(word(1024), word(0));
    }
}
