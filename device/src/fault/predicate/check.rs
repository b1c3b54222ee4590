//! From CEL's tree to typed nodes: every name known, every type right.

use std::ops::Range;

use cel::Program;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators as op};

use super::eval::{Arithmetic, Bool, Compare, Int};
use super::quote::Quoted;
use super::{FaultError, MAX_LENGTH, Name, Pattern, Used};
use crate::fault::error::nearest;
use crate::spec::{NO_VECTOR, Status};
use crate::trace::Mode;

/// Reads an expression that is true or false.
pub fn boolean(text: &str) -> Result<(Bool, Used), FaultError> {
    read(text, |checker, tree| match checker.typed(tree)? {
        Typed::Bool(root) => Ok(root),
        other => Err(checker.error(
            tree,
            format!(
                "the expression is {}: expected one that is true or false",
                other.kind()
            ),
        )),
    })
}

/// Reads an expression that is a number.
pub fn number(text: &str) -> Result<(Int, Used), FaultError> {
    read(text, |checker, tree| match checker.typed(tree)? {
        Typed::Int(root) => Ok(root),
        other => Err(checker.error(
            tree,
            format!("the expression is {}: expected a number", other.kind()),
        )),
    })
}

/// The deepest nesting of brackets that is accepted.
const MAX_DEPTH: usize = 16;
/// Stack for CEL's parser, which takes up to 0.2 MiB for each bracket in an unoptimised build.
const STACK: usize = 16 << 20;

fn read<T: Send>(
    text: &str,
    root: impl FnOnce(&mut Checker<'_>, &IdedExpr) -> Result<T, FaultError> + Send,
) -> Result<(T, Used), FaultError> {
    if text.len() > MAX_LENGTH || !text.is_ascii() {
        return Err(FaultError::new(format!(
            "expected an expression of at most {MAX_LENGTH} ASCII characters"
        )));
    }
    if depth(text) > MAX_DEPTH {
        return Err(FaultError::new(format!(
            "brackets are nested more than {MAX_DEPTH} deep"
        )));
    }
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || parse(text, root));
        match reader.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(FaultError::new("the expression can't be parsed")),
        }
    })
}

fn depth(text: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for c in text.bytes() {
        match c {
            b'(' | b'[' | b'{' => now += 1,
            b')' | b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

fn parse<T>(
    text: &str,
    root: impl FnOnce(&mut Checker<'_>, &IdedExpr) -> Result<T, FaultError>,
) -> Result<(T, Used), FaultError> {
    let quoted = Quoted::new(text);
    let program = Program::compile(&quoted.text).map_err(|errors| not_parsed(text, &errors))?;
    let mut checker = Checker {
        source: text,
        quoted: &quoted,
        program: &program,
        used: Used::default(),
    };
    let root = root(&mut checker, program.expression())?;
    Ok((root, checker.used))
}

fn not_parsed(text: &str, errors: &cel::ParseErrors) -> FaultError {
    let reason = errors
        .errors
        .first()
        .map_or("no expression", |e| e.msg.as_str());
    let bare = |operator: char| {
        let doubled: String = [operator; 2].iter().collect();
        text.replace(&doubled, "").contains(operator)
    };
    let help = if bare('&') {
        Some("for bits of a number write `bits(val, 0x8) != 0`; \"and\" is `&&`")
    } else if bare('|') {
        Some("\"or\" is `||`")
    } else if text.contains('^') {
        Some("for exclusive or write `xor(val, 1)`")
    } else if text
        .replace("==", "")
        .replace("!=", "")
        .replace("<=", "")
        .replace(">=", "")
        .contains('=')
    {
        Some("equality is `==`")
    } else {
        None
    };
    FaultError::new(format!("the expression does not parse: {reason}")).help(help.map(String::from))
}

/// A node with its type.
enum Typed {
    Bool(Bool),
    Int(Int),
    /// `mode`.
    Mode,
    /// A word: `"MSIX"`, or `MSIX`.
    Word(String),
}

impl Typed {
    fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "true or false",
            Self::Int(_) => "a number",
            Self::Mode | Self::Word(_) => "a word",
        }
    }
}

struct Checker<'a> {
    source: &'a str,
    quoted: &'a Quoted,
    program: &'a Program,
    used: Used,
}

impl Checker<'_> {
    fn span(&self, at: &IdedExpr) -> Range<usize> {
        let end = self.source.len();
        let Some((start, stop)) = self.program.source_info().offset_for(at.id) else {
            return 0..end;
        };
        let start = self.quoted.source_offset(start as usize).min(end);
        let stop = self.quoted.source_offset(stop as usize + 1).min(end);
        start..stop.max(start)
    }

    fn error(&self, at: &IdedExpr, message: impl Into<String>) -> FaultError {
        FaultError::at(self.span(at), message)
    }

    fn typed(&mut self, at: &IdedExpr) -> Result<Typed, FaultError> {
        match &at.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => Ok(Typed::Bool(Bool::Const(**value))),
            Expr::Literal(LiteralValue::Int(value)) => Ok(Typed::Int(Int::Const((**value).into()))),
            Expr::Literal(LiteralValue::UInt(value)) => {
                Ok(Typed::Int(Int::Const((**value).into())))
            }
            Expr::Literal(LiteralValue::String(value)) => Ok(Typed::Word(value.inner().to_owned())),
            Expr::Literal(_) => {
                Err(self.error(at, "expected a whole number, a word, true or false"))
            }
            Expr::Ident(name) => self.name(at, name),
            Expr::Call(call) => self.call(at, call),
            _ => Err(self.error(
                at,
                "expected names, numbers, comparisons, `&&`, `||` and `!`",
            )),
        }
    }

    fn name(&mut self, at: &IdedExpr, name: &str) -> Result<Typed, FaultError> {
        if let Some((_, known)) = Name::ALL.iter().find(|(text, _)| *text == name) {
            if matches!(
                known,
                Name::Status | Name::Epoch | Name::SinceLive | Name::SinceReset
            ) {
                self.used.transport = Some(self.span(at));
            }
            self.used.names.push((*known, self.span(at)));
            return Ok(Typed::Int(Int::Name(*known)));
        }
        match name {
            "live" => {
                self.used.transport = Some(self.span(at));
                Ok(Typed::Bool(Bool::Live))
            }
            "mode" => {
                self.used.transport = Some(self.span(at));
                Ok(Typed::Mode)
            }
            "INTX" | "MSI" | "MSIX" => Ok(Typed::Word(name.to_owned())),
            "NO_VECTOR" => Ok(Typed::Int(Int::Const(NO_VECTOR.into()))),
            _ => match Status::bit_named(name) {
                Some(bit) => Ok(Typed::Int(Int::Const(bit.into()))),
                None => Err(self
                    .error(at, format!("`{name}` is not a name of an expression"))
                    .help(nearest(name, known_names()).or_else(|| {
                        Some(format!(
                            "known: {}",
                            known_names().collect::<Vec<_>>().join(", ")
                        ))
                    }))),
            },
        }
    }

    fn call(&mut self, at: &IdedExpr, call: &CallExpr) -> Result<Typed, FaultError> {
        let name = call.func_name.as_str();
        if call.target.is_some() {
            return Err(self.error(at, format!("there is no method `{name}`")));
        }
        let args = call.args.as_slice();
        match (name, args) {
            (op::LOGICAL_AND, _) => Ok(Typed::Bool(Bool::And(self.bools("&&", args)?))),
            (op::LOGICAL_OR, _) => Ok(Typed::Bool(Bool::Or(self.bools("||", args)?))),
            (op::LOGICAL_NOT, [a]) => Ok(Typed::Bool(Bool::Not(Box::new(self.boolean("!", a)?)))),
            (op::NEGATE, [a]) => Ok(Typed::Int(Int::Minus(Box::new(self.int("-", a)?)))),
            (op::EQUALS, [a, b]) => self.equality(at, true, a, b),
            (op::NOT_EQUALS, [a, b]) => self.equality(at, false, a, b),
            (op::CONDITIONAL, [condition, yes, no]) => {
                let condition = self.boolean("?", condition)?;
                match (self.typed(yes)?, self.typed(no)?) {
                    (Typed::Bool(yes), Typed::Bool(no)) => {
                        Ok(Typed::Bool(Bool::If(Box::new((condition, yes, no)))))
                    }
                    (Typed::Int(yes), Typed::Int(no)) => {
                        Ok(Typed::Int(Int::If(Box::new((condition, yes, no)))))
                    }
                    (yes, no) => Err(self.error(
                        at,
                        format!("`?:` chooses between {} and {}", yes.kind(), no.kind()),
                    )),
                }
            }
            (op::IN, [a, list]) => {
                let a = self.int("in", a)?;
                let Expr::List(list) = &list.expr else {
                    return Err(
                        self.error(at, "`in` expects a list of numbers, such as `q in [0, 2]`")
                    );
                };
                let list = list
                    .elements
                    .iter()
                    .map(|e| self.int("in", e))
                    .collect::<Result<_, _>>()?;
                Ok(Typed::Bool(Bool::OneOf(a, list)))
            }
            ("fired", [a]) => {
                let id = self.argument(at, "fired(<id>)", a)?;
                self.used.fired.push((id.clone(), self.span(a)));
                Ok(Typed::Bool(Bool::Fired(id)))
            }
            ("seen", [a]) => {
                let access = self.argument(at, "seen(<access>)", a)?;
                let pattern = Pattern::parse(&access).map_err(|e| e.within(self.span(a)))?;
                self.used.seen.push(pattern);
                Ok(Typed::Bool(Bool::Seen(self.used.seen.len() - 1)))
            }
            (_, [a, b]) => {
                if let Some(how) = comparison(name) {
                    let sign = sign(name);
                    let (a, b) = (self.int(sign, a)?, self.int(sign, b)?);
                    Ok(Typed::Bool(Bool::Compare { how, a, b }))
                } else if let Some(how) = arithmetic(name) {
                    let sign = sign(name);
                    let both = (self.int(sign, a)?, self.int(sign, b)?);
                    Ok(Typed::Int(Int::Of(how, Box::new(both))))
                } else {
                    Err(self.no_function(at, name))
                }
            }
            _ => Err(self.no_function(at, name)),
        }
    }

    fn no_function(&self, at: &IdedExpr, name: &str) -> FaultError {
        const FUNCTIONS: [&str; 4] = ["fired", "seen", "bits", "xor"];
        let name = sign(name);
        if FUNCTIONS.contains(&name) {
            return self.error(
                at,
                format!("`{name}` has the wrong number of arguments: expected fired(<id>), seen(<access>), bits(a, b), xor(a, b)"),
            );
        }
        self.error(at, format!("there is no function `{name}`"))
            .help(nearest(name, FUNCTIONS).or_else(|| {
                Some("known: fired(<id>), seen(<access>), bits(a, b), xor(a, b)".to_owned())
            }))
    }

    fn argument(&self, at: &IdedExpr, form: &str, a: &IdedExpr) -> Result<String, FaultError> {
        match &a.expr {
            Expr::Literal(LiteralValue::String(text)) if !text.inner().trim().is_empty() => {
                Ok(text.inner().trim().to_owned())
            }
            _ => Err(self.error(at, format!("expected {form}"))),
        }
    }

    fn equality(
        &mut self,
        at: &IdedExpr,
        equal: bool,
        a: &IdedExpr,
        b: &IdedExpr,
    ) -> Result<Typed, FaultError> {
        let sign = if equal { "==" } else { "!=" };
        match (self.typed(a)?, self.typed(b)?) {
            (Typed::Int(a), Typed::Int(b)) => {
                let how = if equal {
                    Compare::Equal
                } else {
                    Compare::NotEqual
                };
                Ok(Typed::Bool(Bool::Compare { how, a, b }))
            }
            (Typed::Bool(a), Typed::Bool(b)) => {
                let (a, b) = (Box::new(a), Box::new(b));
                Ok(Typed::Bool(Bool::Same { equal, a, b }))
            }
            (Typed::Mode, Typed::Word(word)) | (Typed::Word(word), Typed::Mode) => {
                let modes = [Mode::Intx, Mode::Msi, Mode::Msix];
                let mode = modes
                    .into_iter()
                    .find(|m| m.name() == word)
                    .ok_or_else(|| {
                        self.error(
                            at,
                            format!("`{word}` is not a mode: expected INTX, MSI or MSIX"),
                        )
                        .help(nearest(&word, modes.map(Mode::name)))
                    })?;
                Ok(Typed::Bool(Bool::Mode { equal, mode }))
            }
            (a @ (Typed::Mode | Typed::Word(_)), b @ (Typed::Mode | Typed::Word(_))) => {
                let _ = (a, b);
                Err(self.error(at, "only `mode` can be compared with a word"))
            }
            (a, b) => Err(self.error(
                at,
                format!("`{sign}` compares {} with {}", a.kind(), b.kind()),
            )),
        }
    }

    fn bools(&mut self, sign: &str, args: &[IdedExpr]) -> Result<Vec<Bool>, FaultError> {
        args.iter().map(|a| self.boolean(sign, a)).collect()
    }

    fn boolean(&mut self, sign: &str, at: &IdedExpr) -> Result<Bool, FaultError> {
        match self.typed(at)? {
            Typed::Bool(value) => Ok(value),
            other => Err(self.error(
                at,
                format!("`{sign}` is given {}: expected true or false", other.kind()),
            )),
        }
    }

    fn int(&mut self, sign: &str, at: &IdedExpr) -> Result<Int, FaultError> {
        match self.typed(at)? {
            Typed::Int(value) => Ok(value),
            other => Err(self.error(
                at,
                format!("`{sign}` is given {}: expected a number", other.kind()),
            )),
        }
    }
}

fn known_names() -> impl Iterator<Item = &'static str> {
    Name::ALL
        .iter()
        .map(|(text, _)| *text)
        .chain(["mode", "live", "INTX", "MSI", "MSIX", "NO_VECTOR"])
        .chain(Status::NAMES.iter().map(|(_, name)| *name))
}

fn comparison(function: &str) -> Option<Compare> {
    Some(match function {
        op::LESS => Compare::Less,
        op::LESS_EQUALS => Compare::LessOrEqual,
        op::GREATER => Compare::Greater,
        op::GREATER_EQUALS => Compare::GreaterOrEqual,
        _ => return None,
    })
}

fn arithmetic(function: &str) -> Option<Arithmetic> {
    Some(match function {
        op::ADD => Arithmetic::Add,
        op::SUBSTRACT => Arithmetic::Subtract,
        op::MULTIPLY => Arithmetic::Multiply,
        op::DIVIDE => Arithmetic::Divide,
        op::MODULO => Arithmetic::Remainder,
        "bits" => Arithmetic::Bits,
        "xor" => Arithmetic::Xor,
        _ => return None,
    })
}

/// CEL's name of an operator is the operator with places for its operands.
fn sign(function: &str) -> &str {
    function.trim_matches('_')
}
