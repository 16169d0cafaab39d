//! `bf16` as storage: conversions of every pattern, and what may not be done with it.

use brolga_ir::interpret::interpret;
use brolga_ir::ops::{Conv, Dot, Op, Role};
use brolga_ir::program::Combine;
use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use brolga_ir::vjp::vjp;
use brolga_ir::{Builder, DType, Graph, Origin, Tensor, Type};

fn to_bf16(value: f32) -> u16 {
    match ScalarOp::Convert(DType::Bf16).apply(&[Scalar::F32(value)]) {
        Scalar::Bf16(v) => v.to_bits(),
        other => panic!("{other:?}"),
    }
}

fn to_f32(bits: u16) -> f32 {
    let narrow = ScalarOp::Bitcast(DType::Bf16);
    assert!(narrow.result(&[DType::I32]).is_err(), "no integer has its width");
    match ScalarOp::Convert(DType::F32).apply(&[Scalar::Bf16(half::bf16::from_bits(bits))]) {
        Scalar::F32(v) => v,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_pattern_widens_exactly_and_comes_back() {
    for bits in 0..=u16::MAX {
        let wide = to_f32(bits);
        if wide.is_nan() {
            assert!(f32::from_bits(u32::from(bits) << 16).is_nan() && to_bf16(wide) & 0x7fff > 0x7f80);
            continue;
        }
        assert_eq!(wide.to_bits(), u32::from(bits) << 16);
        assert_eq!(to_bf16(wide), bits);
    }
}

/// Between neighbours: the nearer one, and of two equally near the one whose last bit is 0. Beyond the largest finite
/// value infinity is the next neighbour, as IEEE 754 has it.
#[test]
fn every_pattern_takes_what_is_nearest() {
    for bits in 0..0x7f80u16 {
        let below = u32::from(bits) << 16;
        for sign in [0, 0x8000u16] {
            let rounded = |low: u32| to_bf16(f32::from_bits((u32::from(sign) << 16) | below | low));
            let (down, up) = (bits | sign, (bits + 1) | sign);
            for low in [0, 1, 0x7fff] {
                assert_eq!(rounded(low), down, "{below:#x} + {low:#x}");
            }
            assert_eq!(rounded(0x8000), if bits % 2 == 0 { down } else { up });
            for low in [0x8001, 0xffff] {
                assert_eq!(rounded(low), up, "{below:#x} + {low:#x}");
            }
        }
    }
    // NaN whose payload is in the lower half only.
    assert!(to_f32(to_bf16(f32::from_bits(0x7f80_0001))).is_nan());
    assert!(to_f32(to_bf16(f32::from_bits(0xffff_ffff))).is_nan());
}

/// Everything goes through f32, in all types and both directions.
#[test]
fn conversions_of_other_types_go_through_f32() {
    let convert = |to, value| ScalarOp::Convert(to).apply(&[value]);
    for value in [Scalar::I32(16_777_217), Scalar::I64(i64::MIN), Scalar::U8(255), Scalar::Bool(true)] {
        assert_eq!(convert(DType::Bf16, value), convert(DType::Bf16, convert(DType::F32, value)));
    }
    // Rounds up to the tie in f32, and then to even: 1 + 2^-8 + 2^-30.
    let double = Scalar::F64(1.0 + 1.0 / 256.0 + 2f64.powi(-30));
    assert_eq!(convert(DType::F64, convert(DType::Bf16, double)), Scalar::F64(1.0));
    let large = Scalar::Bf16(half::bf16::from_f32(300.0));
    assert_eq!(convert(DType::U8, large), Scalar::U8(255));
    assert_eq!(convert(DType::I32, large), Scalar::I32(300));
    assert_eq!(convert(DType::Bool, large), Scalar::Bool(true));
}

#[test]
fn nothing_computes_with_it() {
    for op in ScalarOp::all().filter(|op| *op != ScalarOp::Select) {
        let error = op.result(&vec![DType::Bf16; op.arity()]).unwrap_err();
        let expected =
            format!("{} is not defined for bf16, which only stores: convert it to f32 first", op.name());
        assert_eq!(error, expected);
    }
    assert!(ScalarOp::Select.result(&[DType::Bool, DType::Bf16, DType::Bf16]).is_ok());
    assert!(ScalarOp::Compare(Comparison::Eq).result(&[DType::Bf16, DType::Bf16]).is_err());
    let mut graph = Graph::new("g");
    let x = graph.add_parameter("x", Role::Data, Type::new(DType::Bf16, [4, 3]));
    let indices = graph.add_parameter("i", Role::Data, Type::new(DType::I32, [4]));
    let mut b = Builder::new(&mut graph, Origin::default());
    let built = [
        b.dot(x, x, [&[], &[]], [&[0], &[0]]),
        b.sum(x, &[0]),
        b.iota(DType::Bf16, &[4], 0),
        b.cumulative(Combine::Add, x, 0),
        b.scatter_add(x, indices, x, 0),
        b.argmax(x, 1),
        b.add(x, x),
    ];
    for error in built {
        let message = error.unwrap_err().message;
        assert!(message.contains("is not defined for bf16, which only stores"), "{message}");
    }
}

/// Text, verifier and interpreter: moved, padded, converted.
#[test]
fn a_graph_moves_it() {
    let text = "graph @g(%x: f32[2, 3]) {
  %0 = convert %x {to: bf16} : bf16[2, 3]
  %1 = constant {value: bf16[] [1.5]} : bf16[]
  %2 = pad %0, %1 {low: [0, 1], high: [0, 0]} : bf16[2, 4]
  %3 = transpose %2 {axes: [1, 0]} : bf16[4, 2]
  %4 = convert %3 {to: f32} : f32[4, 2]
  return %4 as \"y\"
}
";
    let graph = Graph::parse(text).unwrap();
    graph.verify().unwrap();
    assert_eq!(graph.to_string(), text);
    let x = Tensor::f32([2, 3], [1.0, 1.001, 1.01, -3.0, 1e-40, f32::NAN]);
    let y = interpret(&graph, &[&x]).unwrap().remove(0);
    let small = to_f32(to_bf16(1e-40));
    let expected = [1.5, 1.5, 1.0, -3.0, 1.0, small, 1.0078125, f32::NAN];
    for (i, expected) in expected.into_iter().enumerate() {
        assert!(y.get(i).same(Scalar::F32(expected)), "{i}: {:?}", y.get(i));
    }
}

#[test]
fn a_gradient_does_not_end_in_it_without_a_word() {
    let mut graph = Graph::new("g");
    let x = graph.add_parameter("x", Role::Data, Type::new(DType::F32, [2]));
    let mut b = Builder::new(&mut graph, Origin::default());
    let stored = b.convert(x, DType::Bf16).unwrap();
    let wide = b.convert(stored, DType::F32).unwrap();
    let seed = b.full(1.0, &Type::new(DType::F32, [2])).unwrap();
    let error = vjp(&mut graph, &[(wide, seed)], &[x]).unwrap_err();
    assert_eq!(error.message, "bf16[2] only stores, so no gradient goes through it");
}

/// No product takes it as an operand: how weights are stored is chosen beside the product (`choices.rs`).
#[test]
fn products_do_not_take_it() {
    let types = [Type::new(DType::F32, [2, 3, 5]), Type::new(DType::F32, [4, 3, 2])];
    let dot = Dot::new([vec![], vec![]], [vec![1], vec![1]]);
    for op in [Op::from(Conv::new(1)), dot.into()] {
        let mut graph = Graph::new("g");
        let [x, w] = [0, 1].map(|i| graph.add_parameter(["x", "w"][i], Role::Data, types[i].clone()));
        let mut b = Builder::new(&mut graph, Origin::default());
        let [left, right] = [x, w].map(|value| b.convert(value, DType::Bf16).unwrap());
        assert!(b.add_node(op.clone(), &[x, w]).is_ok());
        for operands in [[x, right], [left, w], [left, right]] {
            let message = b.add_node(op.clone(), &operands).unwrap_err().message;
            assert!(message.contains("is not defined for bf16, which only stores"), "{message}");
        }
    }
}
