//! The elementary functions, each with its name in one list.

macro_rules! functions {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// The elementary functions; `crate::math` says how each is computed, once per float type.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum Function {
            $($(#[$doc])* $variant,)*
        }

        impl Function {
            /// Every function.
            pub const ALL: [Function; [$($name),*].len()] = [$(Function::$variant),*];

            /// The name in text forms.
            pub fn name(self) -> &'static str {
                match self {
                    $(Function::$variant => $name,)*
                }
            }
        }
    };
}

functions! {
    /// e^x
    Exp "exp",
    /// e^x - 1
    Expm1 "expm1",
    /// ln x
    Log "log",
    /// ln(1 + x)
    Log1p "log1p",
    /// tanh x
    Tanh "tanh",
    /// 1 / (1 + e^-x)
    Sigmoid "sigmoid",
    /// (2/sqrt pi) times the integral of e^-t² from 0 to x
    Erf "erf",
    /// sin x
    Sin "sin",
    /// cos x
    Cos "cos",
    /// 1 / sqrt x
    Rsqrt "rsqrt",
    /// ln |Gamma(x)|
    Lgamma "lgamma",
    /// Gamma'(x) / Gamma(x)
    Digamma "digamma",
    /// the x with erf x = y
    ErfInv "erf_inv",
    /// tan x
    Tan "tan",
    /// the angle from -pi/2 to pi/2 with sine x
    Asin "asin",
    /// the angle from 0 to pi with cosine x
    Acos "acos",
    /// the angle from -pi/2 to pi/2 with tangent x
    Atan "atan",
    /// (e^x - e^-x) / 2
    Sinh "sinh",
    /// (e^x + e^-x) / 2
    Cosh "cosh",
    /// the x with sinh x = y
    Asinh "asinh",
    /// the x from 0 on with cosh x = y
    Acosh "acosh",
    /// the x with tanh x = y
    Atanh "atanh",
    /// logarithm to the base 2
    Log2 "log2",
    /// logarithm to the base 10
    Log10 "log10",
    /// x^y
    Pow "pow",
    /// the angle from -pi to pi of the point with the coordinates x (second) and y (first)
    Atan2 "atan2",
}

impl Function {
    /// Number of arguments.
    pub fn arity(self) -> usize {
        if matches!(self, Function::Pow | Function::Atan2) { 2 } else { 1 }
    }
}
