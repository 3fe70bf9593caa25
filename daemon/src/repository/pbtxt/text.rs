//! The grammar of the protocol buffers' text format: fields, nested messages, lists, quoted strings, comments. It
//! gives a tree with line numbers and knows no schema. Nesting is bounded, so no text can exhaust the stack.

use std::iter::Peekable;
use std::str::Chars;

use super::Remark;

/// Configurations nest four deep; this leaves room and bounds the recursion.
const MAX_DEPTH: usize = 32;

/// A message: its fields in the order they were written. A list gives several fields of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The fields.
    pub fields: Vec<Field>,
}

/// A field with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// The line that its name stands on; in a list, the line on which its value begins.
    pub line: usize,
    /// Its value.
    pub value: Value,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A quoted string, unescaped.
    Text(String),
    /// A number, a truth value or the name of an enum's value.
    Word(String),
    /// A string of JSON, where one cannot see which of both is meant.
    Scalar(String),
    /// A nested message.
    Message(Message),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Reads a whole text.
///
/// # Errors
/// At the first place that does not follow the grammar.
pub fn parse(text: &str) -> Result<Message, Remark> {
    let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), line: 1 };
    let message = parser.message(None, 0)?;
    Ok(message)
}

struct Parser {
    tokens: Peekable<std::vec::IntoIter<(usize, Token)>>,
    line: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let (line, token) = self.tokens.next()?;
        self.line = line;
        Some(token)
    }

    fn take_sign(&mut self, signs: &[char]) -> Option<char> {
        let (line, Token::Sign(sign)) = self.tokens.peek()? else { return None };
        let (line, sign) = (*line, *sign);
        signs.contains(&sign).then(|| {
            self.line = line;
            self.tokens.next();
            sign
        })
    }

    fn error<T>(&self, what: impl Into<String>) -> Result<T, Remark> {
        Err(Remark { line: self.line, what: what.into() })
    }

    /// Fields up to the sign that closes the message, or to the end of the text.
    fn message(&mut self, close: Option<char>, depth: usize) -> Result<Message, Remark> {
        if depth > MAX_DEPTH {
            return self.error(format!("messages are nested deeper than {MAX_DEPTH}"));
        }
        let mut message = Message::default();
        loop {
            match (self.next(), close) {
                (None, None) => return Ok(message),
                (None, Some(close)) => return self.error(format!("the file ends where '{close}' is expected")),
                (Some(Token::Sign(sign)), Some(close)) if sign == close => return Ok(message),
                (Some(Token::Word(name)), _) => self.field(&name, depth, &mut message)?,
                (Some(token), _) => {
                    return self.error(format!("expected the name of a field, found {}", shown(&token)));
                }
            }
            self.take_sign(&[',', ';']);
        }
    }

    fn field(&mut self, name: &str, depth: usize, message: &mut Message) -> Result<(), Remark> {
        let line = self.line;
        let colon = self.take_sign(&[':']).is_some();
        let mut add = |line, value| message.fields.push(Field { name: name.to_owned(), line, value });
        if self.take_sign(&['[']).is_none() {
            add(line, self.value(name, colon, depth)?);
            return Ok(());
        }
        while self.take_sign(&[']']).is_none() {
            let line = self.tokens.peek().map_or(line, |(line, _)| *line);
            add(line, self.value(name, true, depth)?);
            if self.take_sign(&[',']).is_none() && !matches!(self.tokens.peek(), Some((_, Token::Sign(']')))) {
                return self.error(format!("expected ',' or ']' in the list of '{name}'"));
            }
        }
        Ok(())
    }

    fn value(&mut self, name: &str, colon: bool, depth: usize) -> Result<Value, Remark> {
        match self.next() {
            Some(Token::Sign('{')) => Ok(Value::Message(self.message(Some('}'), depth + 1)?)),
            Some(Token::Sign('<')) => Ok(Value::Message(self.message(Some('>'), depth + 1)?)),
            Some(Token::Text(text)) if colon => Ok(Value::Text(self.adjacent(text))),
            Some(Token::Word(word)) if colon => Ok(Value::Word(word)),
            Some(token) if colon => self.error(format!("expected a value for '{name}', found {}", shown(&token))),
            Some(token) => self.error(format!("expected ':' or '{{' after '{name}', found {}", shown(&token))),
            None => self.error(format!("the file ends where a value for '{name}' is expected")),
        }
    }

    /// Strings that follow each other are one string.
    fn adjacent(&mut self, mut text: String) -> String {
        while let Some((_, Token::Text(more))) = self.tokens.peek() {
            text.push_str(more);
            self.next();
        }
        text
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("'{word}'"),
        Token::Text(text) => format!("the string \"{}\"", text.escape_default()),
        Token::Sign(sign) => format!("'{sign}'"),
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Remark> {
    let mut tokens = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = index + 1;
        let mut chars = text.chars().peekable();
        while let Some(first) = chars.next() {
            let token = match first {
                '#' => break,
                space if space.is_whitespace() => continue,
                '"' | '\'' => Token::Text(quoted(&mut chars, first).map_err(|what| Remark { line, what })?),
                sign if ":{}[]<>,;".contains(sign) => Token::Sign(sign),
                start if is_word(start) => Token::Word(word(&mut chars, start)),
                other => {
                    return Err(Remark { line, what: format!("unexpected character '{}'", other.escape_default()) });
                }
            };
            tokens.push((line, token));
        }
    }
    Ok(tokens)
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-+.".contains(character)
}

fn word(chars: &mut Peekable<Chars<'_>>, first: char) -> String {
    let mut word = String::from(first);
    while let Some(next) = chars.next_if(|next| is_word(*next)) {
        word.push(next);
    }
    word
}

/// The rest of a quoted string, which ends on its line.
fn quoted(chars: &mut Peekable<Chars<'_>>, quote: char) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match chars.next() {
            None => {
                return Err(format!("the string starting with {quote}{} is not closed on its line", excerpt(&text)));
            }
            Some(end) if end == quote => return Ok(text),
            Some('\\') => text.push(escaped(chars)?),
            Some(other) => text.push(other),
        }
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(20).flat_map(char::escape_debug).collect()
}

fn escaped(chars: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    match chars.next() {
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('r') => Ok('\r'),
        Some(same @ ('"' | '\'' | '\\')) => Ok(same),
        Some(other) => {
            Err(format!("unknown escape '\\{}'; \\n, \\t, \\r, \\\", \\' and \\\\ are known", other.escape_default()))
        }
        None => Err("a '\\' ends the line".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_tree(message: &Message) -> String {
        let field = |field: &Field| match &field.value {
            Value::Text(text) => format!("{}={text:?}", field.name),
            Value::Word(word) | Value::Scalar(word) => format!("{}={word}", field.name),
            Value::Message(inner) => format!("{}({})", field.name, shown_tree(inner)),
        };
        message.fields.iter().map(field).collect::<Vec<_>>().join(" ")
    }

    fn check(text: &str, expected: Result<&str, (usize, &str)>) {
        match (parse(text), expected) {
            (Ok(tree), Ok(expected)) => assert_eq!(shown_tree(&tree), expected, "{text}"),
            (Err(remark), Err((line, part))) => {
                assert!(remark.line == line && remark.what.contains(part), "{text}: {remark:?}");
            }
            (got, expected) => panic!("{text}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn grammar() {
        check("", Ok(""));
        check("a: 1 # one\nb: \"x\" 'y'", Ok("a=1 b=\"xy\""));
        check("a { b: true } c: { d: -1.5e3; e: F, }", Ok("a(b=true) c(d=-1.5e3 e=F)"));
        check("a <b: 1>", Ok("a(b=1)"));
        check("a: [1, 2] b [{ c: 1 }, { c: 2 }] d: []", Ok("a=1 a=2 b(c=1) b(c=2)"));
        check(r#"a: "q\"\\\n""#, Ok("a=\"q\\\"\\\\\\n\""));
        check("a: 1\n}", Err((2, "name of a field")));
        check("a {\n b: 1\n", Err((2, "ends where '}'")));
        check("a:\n\n{ b 1 }", Err((3, "expected ':' or '{' after 'b'")));
        check("a: \"x\nb: 1", Err((1, "not closed")));
        check(r#"a: "\nb"#, Err((1, r#"starting with "\nb is not closed"#)));
        check("a: [1 2]", Err((1, "expected ',' or ']'")));
        check("a: [1,", Err((1, "the file ends")));
        check("a: \"\\q\"", Err((1, "unknown escape")));
        check("a: $", Err((1, "unexpected character '$'")));
        check(&"a{".repeat(100), Err((1, "nested deeper")));
    }
}
