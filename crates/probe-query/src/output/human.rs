//! Numbers as people read them, by the units of the agent's tables: octets by 1024, rates and counts
//! by 1000.

/// `999`, `1.2k`, `34M`: a count or a rate, in at most five characters beside the sign.
pub fn short(number: f64, base: f64, suffix: &str) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let mut scaled = number;
    let mut unit = 0;
    while scaled >= base && unit + 1 < UNITS.len() {
        scaled /= base;
        unit += 1;
    }
    let suffix = if unit == 0 { "" } else { suffix };
    let prefix = if suffix == "i" && UNITS[unit] == "k" {
        "K"
    } else {
        UNITS[unit]
    };
    if unit == 0 && scaled.fract() == 0.0 || scaled >= 100.0 {
        format!("{:.0}{prefix}{suffix}", scaled.floor())
    } else {
        // Rounded down: nearly a million is not one.
        format!("{:.1}{prefix}{suffix}", (scaled * 10.0).floor() / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_are_short_and_rounded_down() {
        for (number, base, suffix, shown) in [
            (0.0, 1000.0, "", "0"),
            (999.0, 1000.0, "", "999"),
            (1_999_999.0, 1000.0, "", "1.9M"),
            (123_456.0, 1000.0, "", "123k"),
            (1536.0, 1024.0, "i", "1.5Ki"),
            (0.5, 1000.0, "", "0.5"),
        ] {
            assert_eq!(short(number, base, suffix), shown);
        }
    }
}
