//! Which addresses a webhook may have: no door to the network that the sender stands in.
//!
//! IANA's registries of special-purpose addresses:
//! <https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;

use crate::WebhookError;

/// Longest URL.
const MAX_LEN: usize = 2048;

/// IPv4 networks that are not public: first address and length of the prefix.
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
];

/// The IPv6 addresses given out for the public.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Networks among them that are not public: protocols' own with Teredo, documentation, 6to4, documentation.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether anybody on the internet has this address. IPv6 addresses that stand for an IPv4 one are none.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let within = |(network, len): (Ipv4Addr, u32)| (u32::from(address) ^ u32::from(network)) >> (32 - len) == 0;
            !SPECIAL_V4.into_iter().any(within)
        }
        IpAddr::V6(address) => {
            let within =
                |(network, len): (Ipv6Addr, u32)| (u128::from(address) ^ u128::from(network)) >> (128 - len) == 0;
            within(GLOBAL_V6) && !SPECIAL_V6.into_iter().any(within)
        }
    }
}

/// Reads a webhook's URL. What its host's name resolves to is checked when it is connected to.
pub(super) fn parse(url: &str, allow_http: bool, allow_private: bool) -> Result<Uri, WebhookError> {
    let fault = |reason: &str| WebhookError::url(url, reason);
    if url.len() > MAX_LEN {
        return Err(fault("it is too long"));
    }
    let uri: Uri = url
        .parse()
        .map_err(|e| fault(&format!("it is not a URL such as https://example.com/hook: {e}")))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if allow_http => {}
        _ => return Err(fault("it must begin with https://")),
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(fault("it must not hold a user name or password"));
    }
    let host = uri.host().unwrap_or("");
    if host.is_empty() {
        return Err(fault("it names no host"));
    }
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let local = host.trim_end_matches('.').eq_ignore_ascii_case("localhost");
    if !allow_private && (local || literal.is_ok_and(|address| !is_public(address))) {
        return Err(fault("its host is not a public address"));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        let special = [
            "0.0.0.0",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in special {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "169.253.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.0.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
        ];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn urls_that_lead_astray_are_refused() {
        let refused = [
            ("http://example.com/hook", "https"),
            ("ftp://example.com", "https"),
            ("file:///etc/passwd", ""),
            ("example.com/hook", "not a URL such as https://"),
            ("", "not a URL"),
            ("https://", ""),
            ("https://user:pass@example.com", "user name"),
            ("https://example.com@127.0.0.1", "user name"),
            ("https://127.0.0.1/x", "public"),
            ("https://[::1]:8443/x", "public"),
            ("https://[::ffff:10.0.0.1]/", "public"),
            ("https://localhost:8443/", "public"),
            ("https://LOCALHOST./", "public"),
            ("https://exam ple.com/", "not a URL"),
        ];
        for (url, reason) in refused {
            let message = parse(url, false, false).unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains(url), "{message}");
        }
        let long = format!("https://example.com/{}", "x".repeat(MAX_LEN));
        assert!(parse(&long, false, false).is_err());
        for url in [
            "https://example.com",
            "https://example.com:8443/a?b=c",
            "https://8.8.8.8/x",
        ] {
            parse(url, false, false).unwrap();
        }
        parse("http://[::1]:80/", true, true).unwrap();
    }
}
