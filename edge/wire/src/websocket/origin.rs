//! Where the page comes from that opens a WebSocket, as its browser says it: scheme, host and port.
//!
//! A browser lets any page open a WebSocket to anywhere, and says whose page it was. Programs that
//! are no browsers say nothing, or what they like: this guards the user of a browser, not a port.

/// The origin of a page.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
}

impl<'a> Origin<'a> {
    /// Reads an origin such as `https://panel.example.com` or `http://10.0.0.1:8080`. `None` for
    /// anything else: the `null` of a page that hides where it is from, a path, a name of a user.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let usual_port = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => 80,
            _ if scheme.eq_ignore_ascii_case("https") => 443,
            _ => return None,
        };
        // The colons of an IPv6 address stand in brackets.
        let behind_address = rest.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match rest[behind_address..].find(':') {
            Some(at) => {
                let (host, port) = rest.split_at(behind_address + at);
                (host, port[1..].parse().ok()?)
            }
            None => (rest, usual_port),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        let is_host = !host.is_empty() && host.bytes().all(is_plain);
        is_host.then_some(Self { scheme, host, port })
    }
}

impl PartialEq for Origin<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
    }
}

impl Eq for Origin<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_same_in_any_case_and_with_its_usual_port() {
        let parse = |text| Origin::parse(text).expect("an origin");
        for (one, other, is_same) in [
            ("https://a.example", "HTTPS://A.example:443", true),
            ("http://a.example", "http://a.example:80", true),
            ("http://[::1]:8080", "http://[::1]:8080", true),
            ("http://a.example", "https://a.example", false),
            ("http://a.example", "http://a.example:8080", false),
            ("http://a.example", "http://b.a.example", false),
            ("http://a.example", "http://a.example.evil", false),
            ("http://[::1]:80", "http://[::1]", true),
        ] {
            assert_eq!(parse(one) == parse(other), is_same, "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_origin_is_none() {
        for text in [
            "null",
            "",
            "https://",
            "a.example",
            "ftp://a.example",
            "https://a.example/",
            "https://a.example:",
            "https://a.example:65536",
            "https://user@a.example",
            "https://a.example https://b.example",
            "https://*",
            "https://[::1]a:1:2",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
