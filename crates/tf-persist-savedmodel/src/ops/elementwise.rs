//! Ops that work elementwise.

/// Ops of one input, sorted.
pub(crate) const UNARY: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "AsString",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Bucketize",
    "Ceil",
    "Cos",
    "Cosh",
    "Digamma",
    "Elu",
    "Erf",
    "Erfc",
    "Erfinv",
    "Exp",
    "Expm1",
    "Floor",
    "Inv",
    "Invert",
    "IsFinite",
    "IsInf",
    "IsNan",
    "LeakyRelu",
    "Lgamma",
    "Log",
    "Log1p",
    "LogicalNot",
    "Ndtri",
    "Neg",
    "OnesLike",
    "Reciprocal",
    "RegexFullMatch",
    "Relu",
    "Relu6",
    "Rint",
    "Round",
    "Rsqrt",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Square",
    "StaticRegexFullMatch",
    "StaticRegexReplace",
    "StringLength",
    "StringLower",
    "StringStrip",
    "StringToHashBucketFast",
    "StringToHashBucketStrong",
    "StringToNumber",
    "StringUpper",
    "Tan",
    "Tanh",
    "ZerosLike",
];

/// Ops of two inputs with broadcasting, sorted. `Mul` and other arithmetic have rules of their own, for sizes.
pub(crate) const BINARY: &[&str] = &[
    "Atan2",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "DivNoNan",
    "Equal",
    "FloorMod",
    "Greater",
    "GreaterEqual",
    "LeftShift",
    "Less",
    "LessEqual",
    "LogicalAnd",
    "LogicalOr",
    "Mod",
    "MulNoNan",
    "NotEqual",
    "Pow",
    "RealDiv",
    "RightShift",
    "SquaredDifference",
    "TruncateDiv",
    "TruncateMod",
    "Xdivy",
    "Xlogy",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::is_known_op;

    #[test]
    fn ops_are_sorted_and_known() {
        assert!(UNARY.is_sorted() && BINARY.is_sorted());
        assert_eq!(UNARY.iter().chain(BINARY).filter(|op| !is_known_op(op)).collect::<Vec<_>>(), [&""; 0]);
    }
}
