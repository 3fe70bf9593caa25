//! What a Redis Cluster says of its nodes: the text of `CLUSTER NODES`, read. Pure.

/// Slots of every cluster.
const SLOTS: f64 = 16_384.0;

/// A master of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Master {
    /// Its address.
    pub node: String,
    /// Whether the cluster reaches it.
    pub healthy: bool,
    /// The share of all keys that it has, 0 to 1.
    pub key_share: f64,
}

/// The masters in what a node says. What cannot be read is left out.
pub fn masters(text: &str) -> Vec<Master> {
    text.lines().filter_map(master).collect()
}

/// `<id> <ip:port@bus[,name]> <flags> <master> <ping> <pong> <epoch> <link> <slot>…`
fn master(line: &str) -> Option<Master> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (address, flags, link) = (words.next()?, words.next()?, words.nth(4)?);
    let flags: Vec<&str> = flags.split(',').collect();
    if !flags.contains(&"master") {
        return None;
    }
    let node = address.split(['@', ',']).next().unwrap_or(address).to_owned();
    let healthy = link == "connected" && !flags.iter().any(|flag| ["fail", "fail?", "noaddr"].contains(flag));
    // Slots on their way stand in brackets; they belong to whoever has them still.
    let slots: u32 = words.filter(|word| !word.starts_with('[')).filter_map(range).sum();
    Some(Master { node, healthy, key_share: f64::from(slots) / SLOTS })
}

/// How many slots `5` or `0-5460` are.
fn range(text: &str) -> Option<u32> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
    last.checked_sub(first)?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_with_their_slots() {
        let text = "\
07c3 127.0.0.1:30004@31004,host4 slave e7d1 0 1426238317239 4 connected
67ed 127.0.0.1:30002@31002,host2 master - 0 1426238316232 2 connected 4096-8191 9000 [93->-292f]
292f 127.0.0.1:30003@31003 master,fail - 0 1426238318243 3 disconnected 8192-8193
e7d1 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-4095
broken
";
        let master =
            |node: &str, healthy, slots: f64| Master { node: node.to_owned(), healthy, key_share: slots / SLOTS };
        let expected = [
            master("127.0.0.1:30002", true, 4097.0),
            master("127.0.0.1:30003", false, 2.0),
            master("127.0.0.1:30001", true, 4096.0),
        ];
        assert_eq!(masters(text), expected);
        assert_eq!((range("5-3"), range("x"), range("0-4294967295")), (None, None, None));
    }
}
