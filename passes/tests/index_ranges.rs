//! Which inputs are checked before anything runs: those that are indices whatever is in them.

use brolga_ir::Graph;
use brolga_passes::facts::index_ranges::index_ranges;

/// What becomes of `%q: f32[3]`, the elements of `%x` at `%i`, with `%one: i32[3]` beside it; and whether `%i` is checked.
const ROWS: [(&str, bool); 13] = [
    ("%y = neg %q", true),
    // Labels that only meet comparisons are compared.
    ("%y = eq %i, %one", false),
    // Padding, told by the index itself, or by another input of whole numbers.
    ("%m = ne %i, %one %y = select %m, %q, %t", false),
    ("%m = lt %one, %n %y = select %m, %t, %q", false),
    ("%m = ne %i, %one %f = convert %m {to: f32} %p = exp %q %y = mul %f, %p", false),
    // What is taken is used beside the mask, or decides itself.
    ("%m = ne %i, %one %s = select %m, %q, %t %y = add %s, %q", true),
    ("%m = gt %q, %t %y = select %m, %q, %t", true),
    (
        "%m = ne %i, %one %s = reduce_add %q {axes: [0]} %b = broadcast %s {dims: [3], axes: []} %y = select %m, %b, %t",
        true,
    ),
    ("%m = ne %i, %one %f = convert %m {to: f32} %w = mul %t, %f %y = mul %q, %w", false),
    // Factors that are no truth values hide nothing, though truth values decide them: weights of classes, all of them numbers
    // other than 0.
    ("%f = convert %n {to: f32} %y = mul %f, %q", true),
    ("%m = eq %i, %one %f = select %m, %twos, %ones %y = mul %f, %q", true),
    ("%m = eq %i, %one %b = convert %m {to: f32} %f = add %b, %ones %y = mul %f, %q", true),
    // Of two things that are taken by one index, one is used in any case.
    (
        "%z = neg %x %h = gather_along %z, %r {axis: 1} %p = reshape %h {dims: [3]} %m = lt %one, %n %y = select %m, %q, %p",
        true,
    ),
];

#[test]
fn padding_is_no_mistake_where_it_is_masked() {
    for (text, checked) in ROWS {
        let text = format!(
            "graph @g(%x: f32[3, 4], %i: i32[3], %n: i32[3], %t: f32[3]) {{
               %c = constant {{value: i32[] [1]}} %one = broadcast %c {{dims: [3], axes: []}}
               %a = constant {{value: f32[] [1]}} %ones = broadcast %a {{dims: [3], axes: []}}
               %d = constant {{value: f32[] [2]}} %twos = broadcast %d {{dims: [3], axes: []}}
               %r = reshape %i {{dims: [3, 1]}} %g = gather_along %x, %r {{axis: 1}} %q = reshape %g {{dims: [3]}}
               {text} return %y as \"y\" }}"
        );
        let graph = Graph::parse(&text).expect("a graph");
        let expected = if checked { vec![("i".to_owned(), (0, 3))] } else { Vec::new() };
        assert_eq!(index_ranges(&graph), expected, "{text}");
    }
}
