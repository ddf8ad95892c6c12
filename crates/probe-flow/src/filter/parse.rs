//! From words to a filter.
//!
//! ```text
//! filter  = [ or ]
//! or      = and { ("or" | "|" | "||") and }
//! and     = unary { ("and" | "&" | "&&") unary }
//! unary   = { "not" | "!" } primary
//! primary = "(" or ")" | protocol [ end ] | end | other
//! end     = [ "src" | "dst" ] ( "host" | "net" | "port" … ) [ "=" … ] values
//! ```

use super::{
    FilterError,
    ast::{Comparison, Expr, IfacePattern, Measure, Net, Side, Test},
    keyword::{Keyword, keyword, nearest, unknown},
    scan::{Found, Scanner, Token},
    value::{self, PortRange},
};

/// Octets that a filter may have.
pub const MAX_LENGTH: usize = 4096;

/// Parentheses and `not`s inside each other that a filter may have.
pub const MAX_DEPTH: usize = 64;

/// Regexes that a filter may have: anybody who may ask may send a filter.
pub(super) const MAX_REGEXES: usize = 16;

/// Reads a filter. The empty one is `None`.
pub(super) fn parse(text: &str) -> Result<Option<Expr>, FilterError> {
    if text.len() > MAX_LENGTH {
        let cut = text.char_indices().map(|(at, _)| at);
        let start = cut.take_while(|at| *at <= MAX_LENGTH).last().unwrap_or(0);
        let message = format!(
            "a filter has up to {MAX_LENGTH} octets, this has {}",
            text.len()
        );
        return Err(FilterError::new(text, start..text.len(), message));
    }
    let mut scanner = Scanner::new(text);
    let regexes = count_regexes(scanner.clone())?;
    let ahead = scanner.next()?;
    if ahead.token == Token::End {
        return Ok(None);
    }
    let mut parser = Parser {
        scanner,
        ahead,
        implied: Implied::Address(Side::Either),
        regexes,
    };
    let expr = parser.or(0)?;
    match parser.ahead.token {
        // It is shown with parentheses that the text can do without, and must read back.
        Token::End if expr.shown_depth() > MAX_DEPTH => {
            Err(FilterError::new(text, 0..text.len(), too_deep()))
        }
        Token::End => {
            // Names of fields are longer than the words for them, and others read what is shown.
            let len = expr.to_string().len();
            if len > MAX_LENGTH {
                let message = format!(
                    "a filter has up to {MAX_LENGTH} octets, this has {len} in the form in which \
                     it is shown"
                );
                return Err(FilterError::new(text, 0..text.len(), message));
            }
            Ok(Some(expr))
        }
        _ => Err(parser.no_connection()),
    }
}

/// Before any of them is compiled. What is no token is told by the parser.
fn count_regexes(mut scanner: Scanner<'_>) -> Result<usize, FilterError> {
    let text = scanner.text();
    let mut regexes = 0;
    while let Ok(Found { token, at }) = scanner.next() {
        match token {
            Token::End => break,
            Token::Regex(_) if regexes == MAX_REGEXES => {
                let message = format!("a filter has up to {MAX_REGEXES} regexes, this has more");
                return Err(FilterError::new(text, at, message));
            }
            Token::Regex(_) => regexes += 1,
            _ => {}
        }
    }
    Ok(regexes)
}

fn too_deep() -> String {
    format!("more than {MAX_DEPTH} parentheses and `not`s in each other")
}

/// What a value without a keyword means: `port 80 or 443`.
#[derive(Clone, Copy, Debug)]
enum Implied {
    Address(Side),
    Port(Side),
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    ahead: Found<'a>,
    implied: Implied,
    /// How many regexes the filter has.
    regexes: usize,
}

type Parsed = Result<Expr, FilterError>;

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Result<Found<'a>, FilterError> {
        let next = self.scanner.next()?;
        Ok(std::mem::replace(&mut self.ahead, next))
    }

    /// Takes the next token if it is this one.
    fn takes(&mut self, token: Token<'_>) -> Result<bool, FilterError> {
        let is_next = self.ahead.token == token;
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    fn error(&self, message: impl Into<String>) -> FilterError {
        FilterError::new(self.scanner.text(), self.ahead.at.clone(), message)
    }

    fn expected(&self, what: &str) -> FilterError {
        self.error(format!("expected {what}, found {}", self.found()))
    }

    /// The next token as the errors name it.
    fn found(&self) -> String {
        const SHOWN: usize = 40;
        if self.ahead.token == Token::End {
            return "the end".to_owned();
        }
        let text = self.scanner.text().get(self.ahead.at.clone());
        let text = crate::text::printable(text.unwrap_or_default());
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("`{}…`", &text[..end]),
            None => format!("`{text}`"),
        }
    }

    fn or(&mut self, depth: usize) -> Parsed {
        let mut parts = vec![self.and(depth)?];
        while self.takes(Token::Or)? {
            parts.push(self.and(depth)?);
        }
        Ok(joined(parts, Expr::Or))
    }

    fn and(&mut self, depth: usize) -> Parsed {
        let mut parts = vec![self.unary(depth)?];
        while self.takes(Token::And)? {
            parts.push(self.unary(depth)?);
        }
        Ok(joined(parts, Expr::And))
    }

    fn unary(&mut self, mut depth: usize) -> Parsed {
        let mut nots = 0;
        loop {
            if depth > MAX_DEPTH {
                return Err(self.error(too_deep()));
            }
            if !self.takes(Token::Not)? {
                break;
            }
            nots += 1;
            depth += 1;
        }
        let expr = self.primary(depth)?;
        Ok((0..nots).fold(expr, |expr, _| Expr::Not(Box::new(expr))))
    }

    fn primary(&mut self, depth: usize) -> Parsed {
        match self.ahead.token {
            Token::Open => {
                self.advance()?;
                let expr = self.or(depth + 1)?;
                match self.ahead.token {
                    Token::Close => self.advance()?,
                    Token::End => return Err(self.expected("`)`")),
                    _ => return Err(self.no_connection()),
                };
                Ok(expr)
            }
            Token::Word(word) => match keyword(word) {
                Some(keyword) => {
                    self.advance()?;
                    self.test(keyword)
                }
                None => self.without_keyword(word),
            },
            _ => Err(self.expected("a test such as `host 192.0.2.1`, `port 443` or `tcp`")),
        }
    }

    /// A value whose keyword is that of the test before, or `host`.
    fn without_keyword(&mut self, word: &str) -> Parsed {
        match self.implied {
            Implied::Port(side) if value::ports(word).is_ok() => self.port(side),
            Implied::Address(side) if value::is_address(word) => self.address(side),
            Implied::Port(_) if value::is_address(word) => self.address(Side::Either),
            _ => Err(self.error(unknown(word))),
        }
    }

    /// The test behind a keyword.
    fn test(&mut self, keyword: Keyword) -> Parsed {
        match keyword {
            Keyword::Side(side) => self.side(side),
            Keyword::Address(side) => self.address(side),
            Keyword::Port(side) => self.port(side),
            Keyword::Protocol => self.equals(one(value::protocol), Test::Protocol),
            Keyword::Version => self.equals(one(value::version), Test::Version),
            Keyword::Traffic => self.equals(one(value::traffic), Test::Traffic),
            Keyword::Evidence => self.equals(value::evidence, Test::Evidence),
            Keyword::Confidence => self.equals(value::confidence, Test::Evidence),
            Keyword::Flags => self.equals(one(value::flags), Test::Flags),
            Keyword::Iface => self.iface(),
            Keyword::Count(measure) => self.count(measure),
            Keyword::Overflow => Ok(Expr::Test(Test::Overflow)),
            Keyword::Idle => Ok(Expr::Test(Test::Idle)),
            Keyword::IsVersion(version) => self.qualified(Test::Version(vec![version])),
            Keyword::IsProtocol(number) => self.qualified(Test::Protocol(vec![number])),
        }
    }

    /// `tcp port 443`, `ip6 net fd00::/8`: a protocol, and what follows without an `and`.
    fn qualified(&mut self, test: Test) -> Parsed {
        let test = Expr::Test(test);
        let Token::Word(word) = self.ahead.token else {
            return Ok(test);
        };
        match keyword(word) {
            Some(
                next @ (Keyword::Side(_)
                | Keyword::Address(_)
                | Keyword::Port(_)
                | Keyword::Protocol),
            ) => {
                self.advance()?;
                let rest = self.test(next)?;
                Ok(Expr::And(vec![test, rest]))
            }
            _ => Ok(test),
        }
    }

    /// Behind `src` or `dst`: `host`, `net`, `port`, or an address right away; and `or dst`.
    fn side(&mut self, mut side: Side) -> Parsed {
        if self.ahead.token == Token::Or && self.is_other_side(side)? {
            self.advance()?;
            self.advance()?;
            side = Side::Either;
        }
        if let Token::Word(word) = self.ahead.token {
            match keyword(word) {
                Some(Keyword::Address(Side::Either)) => {
                    self.advance()?;
                    return self.address(side);
                }
                Some(Keyword::Port(Side::Either)) => {
                    self.advance()?;
                    return self.port(side);
                }
                _ => {}
            }
        }
        self.address(side)
    }

    /// Whether what follows the `or` is the opposite of the side.
    fn is_other_side(&self, side: Side) -> Result<bool, FilterError> {
        let Token::Word(word) = self.scanner.clone().next()?.token else {
            return Ok(false);
        };
        Ok(match keyword(word) {
            Some(Keyword::Side(other)) => other != side,
            _ => false,
        })
    }

    fn address(&mut self, side: Side) -> Parsed {
        self.implied = Implied::Address(side);
        self.equals(one(value::net), |nets: Vec<Net>| Test::Address(side, nets))
    }

    fn port(&mut self, side: Side) -> Parsed {
        self.implied = Implied::Port(side);
        let Token::Compare(comparison) = self.ahead.token else {
            return self.equals(value::ports, |ranges| Test::Port(side, ranges));
        };
        self.advance()?;
        if comparison == Comparison::Equal {
            return self.equals(value::ports, |ranges| Test::Port(side, ranges));
        }
        let port = match self.ahead.token {
            Token::Word(word) => value::ports(word).ok(),
            _ => None,
        };
        let range = match port.as_deref() {
            Some([(low, high)]) if low == high => compared(comparison, *low),
            _ => return Err(self.expected("one port to compare with")),
        };
        let Some(range) = range else {
            return Err(self.expected("a port that leaves some (they go from 1 to 65535)"));
        };
        self.advance()?;
        Ok(Expr::Test(Test::Port(side, vec![range])))
    }

    fn iface(&mut self) -> Parsed {
        let is_not = self.negation()?;
        let regexes = self.regexes;
        let patterns = self.values(|token| match token {
            Token::Word(name) | Token::Quoted(name) if !name.is_empty() => {
                Ok(vec![IfacePattern::Name(name.to_owned())])
            }
            Token::Regex(pattern) => value::regex(pattern, regexes).map(|pattern| vec![pattern]),
            _ => Err("the name of an interface, or a regex such as /^veth/".to_owned()),
        })?;
        Ok(negated(is_not, Test::Iface(patterns)))
    }

    fn count(&mut self, measure: Measure) -> Parsed {
        let (comparison, is_not) = match self.ahead.token {
            Token::Compare(comparison) => (comparison, false),
            Token::NotEqual => (Comparison::Equal, true),
            _ => return Err(self.expected("one of = != < <= > >=")),
        };
        self.advance()?;
        let number = match self.ahead.token {
            Token::Word(word) => value::count(word),
            _ => value::count(""),
        };
        let number = number.map_err(|what| self.expected(&what))?;
        self.advance()?;
        Ok(negated(is_not, Test::Count(measure, comparison, number)))
    }

    /// Reads `[= | !=] values`, as in `port = 80 443`.
    fn equals<T>(
        &mut self,
        parse: impl Fn(&str) -> Result<Vec<T>, String>,
        test: impl FnOnce(Vec<T>) -> Test,
    ) -> Parsed {
        let is_not = self.negation()?;
        let values = self.values(|token| match token {
            Token::Word(word) => parse(word),
            // So that it says what it wants.
            _ => parse(""),
        })?;
        Ok(negated(is_not, test(values)))
    }

    fn negation(&mut self) -> Result<bool, FilterError> {
        if self.takes(Token::NotEqual)? {
            return Ok(true);
        }
        self.takes(Token::Compare(Comparison::Equal))?;
        Ok(false)
    }

    /// `a`, `a,b`, `(a or b)`.
    fn values<T>(
        &mut self,
        parse: impl Fn(Token<'_>) -> Result<Vec<T>, String>,
    ) -> Result<Vec<T>, FilterError> {
        let is_open = self.takes(Token::Open)?;
        let mut values = Vec::new();
        loop {
            values.extend(parse(self.ahead.token).map_err(|what| self.expected(&what))?);
            self.advance()?;
            if self.takes(Token::Comma)? || is_open && self.takes(Token::Or)? {
                continue;
            }
            if !is_open || self.takes(Token::Close)? {
                return Ok(values);
            }
            return Err(self.expected("`or` or `)`"));
        }
    }

    /// Something stands where `and` or `or` should.
    fn no_connection(&self) -> FilterError {
        let hint = match self.ahead.token {
            Token::Word(word) if keyword(word).is_none() => match unknown_value(word) {
                Some(meant) => format!("; did you mean `{meant}`?"),
                None => match nearest(&word.to_ascii_lowercase()) {
                    Some(near) => format!(", which is unknown; did you mean `{near}`?"),
                    None => ", which is unknown".to_owned(),
                },
            },
            Token::Close => "; no parenthesis is open".to_owned(),
            _ => String::new(),
        };
        let found = self.found();
        self.error(format!(
            "expected `and`, `or` or the end, found {found}{hint}"
        ))
    }
}

fn unknown_value(word: &str) -> Option<String> {
    match value::nearest(&word.to_ascii_lowercase(), ["and", "or"]) {
        Some(near) => Some(near.to_owned()),
        None if value::is_address(word) => Some(format!("and host {word}")),
        None if value::ports(word).is_ok() => Some(format!("and port {word}")),
        None => None,
    }
}

/// A reader of one value as one of several.
fn one<T>(parse: impl Fn(&str) -> Result<T, String>) -> impl Fn(&str) -> Result<Vec<T>, String> {
    move |word| parse(word).map(|value| vec![value])
}

/// The ports that compare so. Port 0 is that of flows whose port is not known or was aggregated
/// away: no comparison means those.
const fn compared(comparison: Comparison, port: u16) -> Option<PortRange> {
    let (low, high) = match comparison {
        Comparison::Equal => return Some((port, port)),
        Comparison::Less => (1, port.checked_sub(1)),
        Comparison::AtMost => (1, Some(port)),
        Comparison::Greater => match port.checked_add(1) {
            Some(low) => (low, Some(u16::MAX)),
            None => return None,
        },
        Comparison::AtLeast => (if port == 0 { 1 } else { port }, Some(u16::MAX)),
    };
    match high {
        Some(high) if low <= high => Some((low, high)),
        _ => None,
    }
}

fn joined(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            join(parts)
        }
    }
}

fn negated(is_not: bool, test: Test) -> Expr {
    let test = Expr::Test(test);
    if is_not {
        Expr::Not(Box::new(test))
    } else {
        test
    }
}
