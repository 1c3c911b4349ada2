//! What JavaScript sets, as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use p2pt::trust::{MemoryStore, Policy, TrustStore as _};
use p2pt::{Builder, IcePolicy, IceServer, Limits, P2pt, PeerId, WebRtcConfig};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Fault;
use crate::trust::{node_key, public_key};

/// Bytes that may wait to be sent to each peer unless set: JavaScript sends without awaiting, as it may with a WebSocket, so
/// the queue is sixteen times that of the facade. Half of it can be used whatever other peers do (`sendMemory`).
const SEND_QUEUE_BYTES: usize = 128 << 20;

/// All options, in the words of JavaScript. `p2pt-web/src/options.ts` has their types; a test holds the two together.
pub const OPTIONS: [&str; 24] = [
    "allow",
    "answerTimeout",
    "connectTimeout",
    "connectionsPerPeer",
    "flushTimeout",
    "gatherTimeout",
    "iceServers",
    "iceTransportPolicy",
    "idleTimeout",
    "inboxBytes",
    "key",
    "maxConnections",
    "maxMessageBytes",
    "maxPeers",
    "peerId",
    "pins",
    "policy",
    "receiveMemory",
    "requestTimeout",
    "requireAgreement",
    "sendMemory",
    "sendQueueBytes",
    "sendTimeout",
    "trackers",
];

/// A node's settings, checked.
#[derive(Debug)]
pub struct Options {
    builder: Builder,
    webrtc: WebRtcConfig,
    pins: Arc<MemoryStore>,
}

impl Options {
    /// Reads settings: a JSON object of any of the [`OPTIONS`]. Times are in milliseconds.
    ///
    /// # Errors
    /// `invalid_option`, with the name of the option; `invalid_id` for a peer id that is none, and `invalid_key` for a key.
    pub fn from_json(json: &str) -> Result<Self, Fault> {
        Self::over(P2pt::builder(), json)
    }

    /// The same over a builder that has settings already.
    pub(crate) fn over(builder: Builder, json: &str) -> Result<Self, Fault> {
        let mut given = Given(serde_json::from_str(json).map_err(|error| invalid("the options", &error))?);
        let pins = Arc::new(pins_of(&mut given)?);
        let builder = builder_of(builder, &mut given)?.trust_store(pins.clone());
        let options = Self { builder, webrtc: webrtc_of(&mut given)?, pins };
        match given.0.keys().next() {
            None => Ok(options),
            Some(unknown) => {
                let text = format!("there is no option {unknown:?}; there are {}", OPTIONS.join(", "));
                Err(Fault::new("invalid_option", text))
            }
        }
    }

    /// The builder of a node that communicates over WebRTC, and where its pins are.
    pub(crate) fn into_builder(self) -> (Builder, Arc<MemoryStore>) {
        (self.builder.webrtc(self.webrtc), self.pins)
    }

    /// The builder without what is about WebRTC.
    #[cfg(test)]
    pub(crate) fn into_plain_builder(self) -> (Builder, Arc<MemoryStore>) {
        (self.builder, self.pins)
    }
}

fn builder_of(mut builder: Builder, given: &mut Given) -> Result<Builder, Fault> {
    builder = builder
        .trackers(given.take::<Vec<String>>("trackers")?.unwrap_or_default())
        .send_queue_bytes(given.take("sendQueueBytes")?.unwrap_or(SEND_QUEUE_BYTES));
    if let Some(id) = given.take::<String>("peerId")? {
        builder = builder.peer_id(peer_id(&id)?);
    }
    if let Some(key) = given.take::<String>("key")? {
        builder = builder.key(node_key(&key)?);
    }
    if let Some(policy) = given.0.remove("policy").filter(|value| !value.is_null()) {
        builder = builder.policy(policy_of(policy)?);
    }
    if let Some(trackers) = given.take("requireAgreement")? {
        builder = builder.require_agreement(trackers);
    }
    if let Some(ids) = given.take::<Vec<String>>("allow")? {
        builder = builder.allow(ids.iter().map(|id| peer_id(id)).collect::<Result<Vec<_>, _>>()?);
    }
    if let Some(count) = given.take("maxPeers")? {
        builder = builder.max_peers(count);
    }
    if let Some(count) = given.take("connectionsPerPeer")? {
        builder = builder.connections_per_peer(count);
    }
    if let Some(bytes) = given.take("inboxBytes")? {
        builder = builder.inbox_bytes(bytes);
    }
    if let Some(bytes) = given.take("receiveMemory")? {
        builder = builder.receive_memory(bytes);
    }
    if let Some(bytes) = given.take("sendMemory")? {
        builder = builder.send_memory(bytes);
    }
    if let Some(bytes) = given.take("maxMessageBytes")? {
        builder = builder.limits(Limits::default().max_message_bytes(bytes));
    }
    if let Some(time) = given.take_time("requestTimeout")? {
        builder = builder.request_timeout(time);
    }
    if let Some(time) = given.take_time("sendTimeout")? {
        builder = builder.send_timeout(time);
    }
    if let Some(time) = given.take_time("flushTimeout")? {
        builder = builder.flush_timeout(time);
    }
    Ok(builder)
}

/// `"open"`, `"signed"`, or an object with the public keys of the `only` peers.
fn policy_of(value: Value) -> Result<Policy, Fault> {
    match value {
        Value::String(text) if text == "open" => Ok(Policy::Open),
        Value::String(text) if text == "signed" => Ok(Policy::Signed),
        Value::Object(object) => {
            let mut given = Given(object);
            let keys = given.take::<Vec<String>>("only").map_err(|fault| invalid("policy", &fault.message()))?;
            match keys {
                Some(keys) if given.0.is_empty() => {
                    Ok(Policy::Only(keys.iter().map(|key| public_key(key)).collect::<Result<_, _>>()?))
                }
                _ => Err(invalid("policy", &"an object has `only`, an array of public keys")),
            }
        }
        _ => Err(invalid("policy", &"it is \"open\", \"signed\" or { only: […] }")),
    }
}

/// Names, and the public keys that are pinned under them.
fn pins_of(given: &mut Given) -> Result<MemoryStore, Fault> {
    let pins = MemoryStore::new();
    for (name, key) in given.take::<BTreeMap<String, String>>("pins")?.unwrap_or_default() {
        pins.pin(&name, &public_key(&key)?).map_err(|error| invalid("pins", &error))?;
    }
    Ok(pins)
}

fn webrtc_of(given: &mut Given) -> Result<WebRtcConfig, Fault> {
    let mut webrtc = WebRtcConfig::default();
    if let Some(servers) = given.take::<Vec<Map<String, Value>>>("iceServers")? {
        let mut all = Vec::new();
        for (place, server) in servers.into_iter().enumerate() {
            ice_server(place, server, &mut all)?;
        }
        webrtc = webrtc.ice_servers(all);
    }
    if let Some(policy) = given.take::<String>("iceTransportPolicy")? {
        webrtc = webrtc.ice_policy(match policy.as_str() {
            "all" => IcePolicy::All,
            "relay" => IcePolicy::RelayOnly,
            _ => return Err(invalid("iceTransportPolicy", &format!("{policy:?} is neither \"all\" nor \"relay\""))),
        });
    }
    if let Some(count) = given.take("maxConnections")? {
        webrtc = webrtc.max_connections(count);
    }
    if let Some(time) = given.take_time("gatherTimeout")? {
        webrtc = webrtc.gather_timeout(time);
    }
    if let Some(time) = given.take_time("answerTimeout")? {
        webrtc = webrtc.answer_timeout(time);
    }
    if let Some(time) = given.take_time("connectTimeout")? {
        webrtc = webrtc.connect_timeout(time);
    }
    if let Some(time) = given.take_time("idleTimeout")? {
        webrtc = webrtc.idle_timeout(time);
    }
    Ok(webrtc)
}

/// A server as `RTCIceServer` has it, with one URL or several.
fn ice_server(place: usize, server: Map<String, Value>, all: &mut Vec<IceServer>) -> Result<(), Fault> {
    let within = |fault: Fault| invalid(&format!("iceServers[{place}].{}", fault.message()), &"");
    let mut given = Given(server);
    let urls = match given.0.remove("urls").or_else(|| given.0.remove("url")) {
        Some(Value::String(url)) => vec![url],
        Some(Value::Array(urls)) if urls.iter().all(Value::is_string) => {
            urls.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => return Err(within(Fault::new("invalid_option", "urls: a text, or several in an array, is expected"))),
    };
    let username: String = given.take("username").map_err(within)?.unwrap_or_default();
    let credential: String = given.take("credential").map_err(within)?.unwrap_or_default();
    all.extend(urls.into_iter().map(|url| IceServer::turn(url, username.clone(), credential.clone())));
    Ok(())
}

pub(crate) fn peer_id(text: &str) -> Result<PeerId, Fault> {
    text.parse().map_err(|error| Fault::invalid_id(&format!("peer id {text:?}"), &error))
}

fn invalid(what: &str, problem: &dyn std::fmt::Display) -> Fault {
    let problem = problem.to_string();
    let colon = if problem.is_empty() { "" } else { ": " };
    Fault::new("invalid_option", format!("{what}{colon}{problem}"))
}

/// The options that have not been read yet. Those that are `null` count as not given.
struct Given(Map<String, Value>);

impl Given {
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Fault> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|error| invalid(name, &error)),
        }
    }

    /// A time in milliseconds, of which JavaScript has fractions.
    fn take_time(&mut self, name: &str) -> Result<Option<Duration>, Fault> {
        self.take::<f64>(name)?.map(|millis| time(name, millis)).transpose()
    }
}

/// A time of JavaScript.
pub(crate) fn time(name: &str, millis: f64) -> Result<Duration, Fault> {
    let problem = format!("{millis} is no time in milliseconds; for a long one, give a large number");
    Duration::try_from_secs_f64(millis / 1000.0).map_err(|_| invalid(name, &problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> String {
        Options::from_json(json).expect_err("it is wrong").to_string()
    }

    #[test]
    fn an_error_names_the_option() {
        let cases = [
            (r#"{"maxPeers":"many"}"#, "invalid_option: maxPeers: invalid type: string \"many\", expected usize"),
            (r#"{"maxPeers":-1}"#, "invalid_option: maxPeers: invalid value: integer `-1`, expected usize"),
            (r#"{"sendTimeout":-5}"#, "invalid_option: sendTimeout: -5 is no time in milliseconds; "),
            (r#"{"iceServers":[{"urls":"stun:a"},{"urls":7}]}"#, "invalid_option: iceServers[1].urls: "),
            (r#"{"iceServers":[{"urls":[],"username":1}]}"#, "invalid_option: iceServers[0].username: "),
            (r#"{"iceTransportPolicy":"none"}"#, "invalid_option: iceTransportPolicy: \"none\""),
            (r#"{"maxPeer":1}"#, "invalid_option: there is no option \"maxPeer\"; there are allow, "),
            ("7", "invalid_option: the options: "),
            (r#"{"policy":"closed"}"#, "invalid_option: policy: it is \"open\""),
            (r#"{"policy":{"only":7}}"#, "invalid_option: policy: only: invalid type"),
            (r#"{"policy":{"all":[]}}"#, "invalid_option: policy: an object has `only`"),
            (r#"{"policy":{"only":["7"]}}"#, "invalid_key: public key: "),
            (r#"{"key":"p2pt-secret-7"}"#, "invalid_key: key: "),
            (r#"{"pins":{"":"aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dype"}}"#, "invalid_"),
            (r#"{"pins":{"bob":"7"}}"#, "invalid_key: public key: "),
            (r#"{"peerId":"7"}"#, "invalid_id: peer id \"7\": "),
            (r#"{"allow":["7"]}"#, "invalid_id: peer id \"7\": "),
        ];
        for (json, begins) in cases {
            let text = fault(json);
            assert!(text.starts_with(begins), "{json}: {text}");
        }
    }

    #[test]
    fn each_option_is_taken() {
        let value = |name: &str| match name {
            "allow" => r#"["0101010101010101010101010101010101010101"]"#.to_owned(),
            "peerId" => "\"0101010101010101010101010101010101010101\"".to_owned(),
            "trackers" => r#"["ws://a.test"]"#.to_owned(),
            "iceServers" => r#"[{"urls":["stun:a"]},{"urls":"turn:b","username":"u","credential":"c"}]"#.to_owned(),
            "iceTransportPolicy" => "\"relay\"".to_owned(),
            "key" => format!("{:?}", crate::generate_key()),
            "policy" => "\"signed\"".to_owned(),
            "pins" => format!("{{\"bob\":{:?}}}", crate::public_key_of(&crate::generate_key()).expect("a key")),
            // Something for each that is a number, and a fraction where it is a time.
            name if name.ends_with("Timeout") => "1500.5".to_owned(),
            _ => "100000000".to_owned(),
        };
        let all: Vec<String> = OPTIONS.iter().map(|name| format!("{name:?}:{}", value(name))).collect();
        Options::from_json(&format!("{{{}}}", all.join(","))).expect("they are right");
        assert!(OPTIONS.is_sorted());
        for name in OPTIONS {
            Options::from_json(&format!("{{{name:?}:null}}")).expect("null is as if it were not given");
            assert!(Options::from_json(&format!("{{{name:?}:[{{}}]}}")).is_err(), "{name} takes an object in an array");
        }
    }

    #[test]
    fn typescript_has_the_same_options() {
        let source = include_str!("../../src/options.ts");
        let body = source
            .split("export interface NodeOptions extends NodeHandlers {")
            .nth(1)
            .and_then(|rest| rest.split("\n}").next());
        let lines = body.expect("options.ts has them").lines();
        let mut names: Vec<&str> =
            lines.filter_map(|line| line.strip_prefix("  ")?.split_once("?:")).map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, OPTIONS);
    }
}
