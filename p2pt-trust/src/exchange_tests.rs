use super::*;
use crate::context::SdpHash;

#[allow(clippy::disallowed_methods, reason = "a state machine only adds to it; which one it is does not matter")]
fn base() -> Instant {
    Instant::now()
}

fn transcript(answer: &str) -> Transcript {
    Transcript::new(&SdpHash::of("offer"), &SdpHash::of(answer))
}

fn key(byte: u8) -> NodeKey {
    NodeKey::from_bytes(&[byte; 32])
}

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

/// Two sides with their codes, at one moment.
struct Pair {
    now: Instant,
    shows: CodeExchange,
    types: CodeExchange,
}

impl Pair {
    fn new(shown: &str, typed: &str) -> Self {
        let now = base();
        let shows = CodeExchange::new(Side::Shows, code(shown), key(1), now);
        let types = CodeExchange::new(Side::Types, code(typed), key(2), now);
        Self { now, shows, types }
    }

    /// Begins on both sides; the element of the side that shows.
    fn begin(&mut self, shown: &Transcript, typed: &Transcript) -> Vec<u8> {
        let element = self.shows.begin(self.now, shown, &mut rand::rng()).unwrap().expect("the element");
        assert_eq!(self.types.begin(self.now, typed, &mut rand::rng()), Ok(None));
        element
    }

    /// Up to the reply.
    fn reply(&mut self) -> Vec<u8> {
        let element = self.begin(&transcript("answer"), &transcript("answer"));
        sent(self.types.receive(self.now, &element))
    }

    fn shows_gets(&mut self, bytes: &[u8]) -> Option<ExchangeOutput> {
        self.shows.receive(self.now, bytes)
    }

    fn types_gets(&mut self, bytes: &[u8]) -> Option<ExchangeOutput> {
        self.types.receive(self.now, bytes)
    }
}

fn sent(output: Option<ExchangeOutput>) -> Vec<u8> {
    match output {
        Some(ExchangeOutput::Send(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

fn failed(why: AttemptFailure, left: u32) -> Option<ExchangeOutput> {
    Some(ExchangeOutput::Failed { why, left })
}

const CODE: &str = "apple-banana-canyon-lemon";
const SLIP: &str = "apple-banana-canyon-lizard";

#[test]
fn two_who_share_a_code_learn_each_others_keys() {
    let mut pair = Pair::new(CODE, "APPLE banana CANYON lemon");
    let reply = pair.reply();
    let proof = sent(pair.shows_gets(&reply));
    let Some(ExchangeOutput::Finished { key: found, last: Some(last) }) = pair.types_gets(&proof) else { panic!() };
    assert_eq!(found, key(1).public_key());
    let finished = ExchangeOutput::Finished { key: key(2).public_key(), last: None };
    assert_eq!(pair.shows_gets(&last), Some(finished));
    assert_eq!([reply.len(), proof.len(), last.len()], [67, 146, 114]);
    // A code serves once.
    for side in [&mut pair.shows, &mut pair.types] {
        assert_eq!(side.end(), Some(CodeEnd::Used));
        let again = side.begin(pair.now, &transcript("other"), &mut rand::rng());
        assert_eq!(again, Err(BeginError::Void(CodeEnd::Used)));
        assert_eq!((side.receive(pair.now, &last), side.poll_timeout()), (None, None));
    }
}

#[test]
fn one_who_guesses_wrong_is_noticed_before_anything_is_shown() {
    let mut pair = Pair::new(CODE, SLIP);
    let reply = pair.reply();
    assert_eq!(pair.shows_gets(&reply), failed(AttemptFailure::WrongCode, 2));
    // The side that typed has shown something, and counts the attempt too.
    assert_eq!(pair.types.channel_ended(), failed(AttemptFailure::Unfinished, 2));
}

#[test]
fn who_waits_at_the_meeting_place_with_a_guess_is_noticed() {
    let mut pair = Pair::new(SLIP, CODE);
    let reply = pair.reply();
    // The attacker sees that the guess was wrong, makes something up and is counted.
    let made_up = message(PROOF, &[&[0; 32], &[0; SEALED_BYTES]]);
    assert_eq!(pair.types_gets(&made_up), failed(AttemptFailure::WrongCode, 2));
    assert_eq!(reply.len(), 67);
}

#[test]
fn the_third_guess_is_the_last() {
    let mut pair = Pair::new(CODE, SLIP);
    for left in [2, 1, 0] {
        let reply = pair.reply();
        assert_eq!(pair.shows_gets(&reply), failed(AttemptFailure::WrongCode, left));
        assert_eq!(pair.types.channel_ended(), failed(AttemptFailure::Unfinished, left));
    }
    assert_eq!((pair.shows.end(), pair.types.end()), (Some(CodeEnd::Guessed), Some(CodeEnd::Guessed)));
    let refused = pair.shows.begin(pair.now, &transcript("answer"), &mut rand::rng());
    assert_eq!(refused, Err(BeginError::Void(CodeEnd::Guessed)));
    assert_eq!(pair.shows.handle_timeout(pair.now + 2 * CODE_LIFETIME), None);
}

#[test]
fn somebody_between_the_two_has_no_use_of_the_right_code() {
    let mut pair = Pair::new(CODE, CODE);
    // Each is connected with the one between, who passes everything on.
    let element = pair.begin(&transcript("to one"), &transcript("to the other"));
    let reply = sent(pair.types_gets(&element));
    assert_eq!(pair.shows_gets(&reply), failed(AttemptFailure::WrongCode, 2));
}

#[test]
fn nothing_counts_before_a_guess_can_be_tested() {
    let mut pair = Pair::new(CODE, CODE);
    for _ in 0..20 {
        pair.begin(&transcript("answer"), &transcript("answer"));
        assert_eq!(pair.shows.channel_ended(), failed(AttemptFailure::Unfinished, 3));
        assert_eq!(pair.types_gets(b"\x02"), failed(AttemptFailure::Version { found: 2 }, 3));
        pair.begin(&transcript("answer"), &transcript("answer"));
        assert_eq!(pair.shows_gets(b""), failed(AttemptFailure::Malformed, 3));
        // An element that was sent back is of the wrong side.
        let own = message(ELEMENT, &[&[b'B'; ELEMENT_BYTES]]);
        assert_eq!(pair.types_gets(&own), failed(AttemptFailure::Malformed, 3));
    }
    assert_eq!((pair.shows.end(), pair.types.end()), (None, None));
}

#[test]
fn everything_counts_afterwards() {
    let mut pair = Pair::new(CODE, CODE);
    let reply = pair.reply();
    let proof = sent(pair.shows_gets(&reply));
    assert_eq!(pair.shows.channel_ended(), failed(AttemptFailure::Unfinished, 2));
    let mut changed = proof.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(pair.types_gets(&changed), failed(AttemptFailure::WrongCode, 2));
    pair.reply();
    assert_eq!(pair.types_gets(&proof), failed(AttemptFailure::WrongCode, 1));
    assert_eq!(pair.shows.channel_ended(), failed(AttemptFailure::Unfinished, 2));
    pair.reply();
    assert_eq!(pair.types_gets(&message(LAST, &[])), failed(AttemptFailure::Malformed, 0));
    assert_eq!(pair.types.end(), Some(CodeEnd::Guessed));
}

#[test]
fn the_side_that_shows_proves_the_code_too() {
    let mut pair = Pair::new(CODE, CODE);
    let reply = pair.reply();
    let mut proof = sent(pair.shows_gets(&reply));
    // The first byte behind version and kind; the sealed key is as it was.
    proof[2] ^= 1;
    assert_eq!(pair.types_gets(&proof), failed(AttemptFailure::WrongCode, 2));
}

#[test]
fn a_key_has_to_be_proven() {
    let mut pair = Pair::new(CODE, CODE);
    let reply = pair.reply();
    // One who has the code names another's key, and signs with its own.
    let State::Open { stage, .. } = &pair.types.state else { panic!() };
    let Stage::Proof { keys } = &**stage else { panic!() };
    let signature = key(2).sign(&signed_bytes(keys, Side::Types, &transcript("answer")));
    let text = [&key(3).public_key().as_bytes()[..], &signature].concat();
    let cipher = XChaCha20Poly1305::new((&*keys.seal(Side::Types)).into());
    let sealed = cipher.encrypt(&XNonce::default(), &*text).unwrap();
    sent(pair.shows_gets(&reply));
    assert_eq!(pair.shows_gets(&message(LAST, &[&sealed])), failed(AttemptFailure::KeyNotProven, 2));
}

#[test]
fn one_exchange_at_a_time() {
    let mut pair = Pair::new(CODE, CODE);
    pair.reply();
    let second = pair.shows.begin(pair.now, &transcript("other"), &mut rand::rng());
    assert_eq!(second, Err(BeginError::Busy));
    // One that stalls gives way.
    assert_eq!(pair.shows.poll_timeout(), Some(pair.now + EXCHANGE_TIMEOUT));
    assert_eq!(pair.shows.handle_timeout(pair.now + EXCHANGE_TIMEOUT / 2), None);
    let late = pair.now + EXCHANGE_TIMEOUT;
    assert_eq!(pair.shows.handle_timeout(late), failed(AttemptFailure::Unfinished, 3));
    assert_eq!(pair.types.receive(late, &[]), failed(AttemptFailure::Unfinished, 2));
    assert!(pair.shows.begin(late, &transcript("other"), &mut rand::rng()).is_ok());
}

#[test]
fn a_code_expires() {
    let mut pair = Pair::new(CODE, CODE);
    let end = pair.now + CODE_LIFETIME;
    assert_eq!(pair.shows.poll_timeout(), Some(end));
    assert_eq!(pair.shows.handle_timeout(end - Duration::from_millis(1)), None);
    assert_eq!(pair.shows.handle_timeout(end), Some(ExchangeOutput::Expired));
    assert_eq!((pair.shows.end(), pair.shows.poll_timeout()), (Some(CodeEnd::Expired), None));
    // Also if nobody has looked at the time.
    let late = pair.types.begin(end, &transcript("answer"), &mut rand::rng());
    assert_eq!(late, Err(BeginError::Void(CodeEnd::Expired)));
}

#[test]
fn what_began_in_time_may_be_finished() {
    let mut pair = Pair::new(CODE, CODE);
    pair.now = pair.now + CODE_LIFETIME - Duration::from_secs(1);
    let reply = pair.reply();
    pair.now += Duration::from_secs(2);
    let proof = sent(pair.shows_gets(&reply));
    assert!(matches!(pair.types_gets(&proof), Some(ExchangeOutput::Finished { .. })));
}

#[test]
fn nothing_secret_is_shown() {
    let pair = Pair::new(CODE, CODE);
    assert_eq!(format!("{:?}", pair.shows), "CodeExchange { side: Shows, failed: 0, state: \"idle\" }");
}

#[test]
fn exchanges_that_were_begun_elsewhere_are_counted_where_they_are_taken_over() {
    let mut pair = Pair::new(CODE, CODE);
    for (number, left) in [(1, 2), (2, 1), (3, 0)] {
        let answer = number.to_string();
        let mut begun = CodeExchange::new(Side::Shows, code(CODE), key(1), pair.now);
        let element = begun.begin(pair.now, &transcript(&answer), &mut rand::rng()).unwrap().expect("the element");
        let mut guess = CodeExchange::new(Side::Types, code(SLIP), key(3), pair.now);
        assert_eq!(guess.begin(pair.now, &transcript(&answer), &mut rand::rng()), Ok(None));
        let reply = sent(guess.receive(pair.now, &element));
        assert_eq!(pair.shows.take_over(pair.now, begun), Ok(()));
        assert_eq!(pair.shows_gets(&reply), failed(AttemptFailure::WrongCode, left));
    }
    let begun = CodeExchange::new(Side::Shows, code(CODE), key(1), pair.now);
    assert_eq!(pair.shows.take_over(pair.now, begun), Err(BeginError::Void(CodeEnd::Guessed)));
}

#[test]
fn an_exchange_of_another_code_or_key_is_not_taken_over() {
    let mut pair = Pair::new(CODE, CODE);
    for (side, other, own) in [(Side::Types, CODE, 1), (Side::Shows, SLIP, 1), (Side::Shows, CODE, 2)] {
        let mut begun = CodeExchange::new(side, code(other), key(own), pair.now);
        begun.begin(pair.now, &transcript("answer"), &mut rand::rng()).unwrap();
        assert_eq!(pair.shows.take_over(pair.now, begun), Ok(()));
        assert_eq!(pair.shows_gets(b""), None, "none is under way");
    }
    // One is, and keeps its place.
    pair.begin(&transcript("answer"), &transcript("answer"));
    let begun = CodeExchange::new(Side::Shows, code(CODE), key(1), pair.now);
    assert_eq!(pair.shows.take_over(pair.now, begun), Err(BeginError::Busy));
}
