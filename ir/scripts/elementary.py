"""Computes the coefficients and the test references of brolga_ir::math.

    python elementary.py coefficients > ../src/math/coefficients.rs
    python elementary.py references   > ../tests/math_reference.bin
    cargo fmt -p brolga-ir

Needs mpmath. Polynomials come from the Remez exchange on a dense Chebyshev grid, in 45 digits. The coefficients
of the f32 forms are rounded one after the other, lowest degree first, and the rest is fitted again each time.
"""

import functools
import itertools
import struct
import sys

import mpmath as m
from mpmath import mp, mpf

mp.dps = 45


def f32(x):
    return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def f64(x):
    return mpf(float(x))


# ---------------------------------------------------------------- fitting


def chebyshev_grid(a, b, n):
    a, b = mpf(a), mpf(b)
    return [(a + b) / 2 - (b - a) / 2 * m.cos(m.pi * (i + mpf(1) / 2) / n) for i in range(n)]


def alternation(error, count):
    """Indices of the extremes between sign changes of the error, the `count` best in a row."""
    found = []
    for i, e in enumerate(error):
        if found and (e > 0) == (error[found[-1]] > 0):
            if abs(e) > abs(error[found[-1]]):
                found[-1] = i
        else:
            found.append(i)
    while len(found) > count:
        found.pop(0 if abs(error[found[0]]) < abs(error[found[-1]]) else -1)
    return found


def remez(target, basis, weight, xs):
    """Coefficients c minimising max |target - c . basis| weight over the points xs, and that maximum."""
    n, size = len(basis), len(xs)
    f, w, g = [target(x) for x in xs], [weight(x) for x in xs], [[h(x) for h in basis] for x in xs]
    if n == 0:
        return [], max(abs(fi) * wi for fi, wi in zip(f, w))
    reference = [round((size - 1) * i / n) for i in range(n + 1)]
    best = None
    for _ in range(40):
        a, y = m.matrix(n + 1, n + 1), m.matrix(n + 1, 1)
        for row, i in enumerate(reference):
            for column in range(n):
                a[row, column] = g[i][column]
            a[row, n], y[row] = (-1) ** row / w[i], f[i]
        solution = m.lu_solve(a, y)
        c, level = [solution[j] for j in range(n)], abs(solution[n])
        error = [(fi - m.fdot(c, gi)) * wi for fi, gi, wi in zip(f, g, w)]
        worst = max(abs(e) for e in error)
        if best is None or worst < best[1]:
            best = (c, worst)
        exchanged = alternation(error, n + 1)
        if worst <= level * mpf("1.001") or len(exchanged) < n + 1 or exchanged == reference:
            break
        reference = exchanged
    return best


def polynomial(target, weight, interval, powers, rounding):
    """target(x) ~ sum over k in powers of c_k x^k, coefficients rounded; and the largest weighted error."""
    xs = [x for x in chebyshev_grid(*interval, max(300, 30 * len(powers))) if abs(x) > mpf(10) ** -6]
    basis = [lambda x, k=k: x**k for k in powers]
    cached = {x: target(x) for x in xs}
    c, error = remez(lambda x: cached[x], basis, weight, xs)
    if rounding is f64:
        return [f64(x) for x in c], error
    f, w, g = [cached[x] for x in xs], [weight(x) for x in xs], [[h(x) for h in basis] for x in xs]

    def worst(c):
        return max(abs(fi - m.fdot(c, gi)) * wi for fi, gi, wi in zip(f, g, w))

    # After each rounding the rest is fitted again, by least squares: with low degrees fixed, the others need not
    # be a Chebyshev system. `c` stays the target, so that the fit remains minimax but for the roundings.
    done, left = [], list(c)
    for j in range(len(powers)):
        done.append(rounding(left[0]))
        slip = left[0] - done[-1]
        rest = range(j + 1, len(powers))
        if rest:
            a, y = m.matrix(len(rest), len(rest)), m.matrix(len(rest), 1)
            for row, k in enumerate(rest):
                for column, l in enumerate(rest):
                    a[row, column] = m.fsum(gi[k] * gi[l] * wi * wi for gi, wi in zip(g, w))
                y[row] = m.fsum(gi[k] * gi[j] * slip * wi * wi for gi, wi in zip(g, w))
            shift = m.lu_solve(a, y)
            left = [left[1 + i] + shift[i] for i in range(len(rest))]
    plain = [rounding(x) for x in c]
    return min(((x, worst(x)) for x in (done, plain)), key=lambda pair: pair[1])


def rational(target, weight, interval, above, below, rounding):
    """target(x) ~ p(x)/q(x) with q(0) = 1, of degrees `above` and `below`, and the largest weighted error.

    Repeated fits of p - target q, weighted by the q of the fit before (Loeb's algorithm)."""
    xs = chebyshev_grid(*interval, 40 * (above + below))
    cached = {x: target(x) for x in xs}
    value = lambda c, x: m.fsum(ck * x**k for k, ck in enumerate(c))
    basis = [lambda x, k=k: x**k for k in range(above + 1)]
    basis += [lambda x, k=k: -cached[x] * x**k for k in range(1, below + 1)]
    q = [mpf(1)]
    for _ in range(8):
        c, _ = remez(lambda x: cached[x], basis, lambda x, q=q: weight(x) / value(q, x), xs)
        p, q = c[: above + 1], [mpf(1)] + c[above + 1 :]
    p, q = [rounding(x) for x in p], [rounding(x) for x in q]
    return p, q, max(abs(cached[x] - value(p, x) / value(q, x)) * weight(x) for x in xs)


# ---------------------------------------------------------------- functions


def root_quotient(f, x):
    """f(sqrt(y)) / sqrt(y) as a function of y, for odd f."""
    s = m.sqrt(x)
    return f(s) / s if x else m.diff(f, 0)


def erf_inv_complement(q):
    """x with erfc(x) = q, 0 < q <= 1, without cancellation, by Halley's iteration."""
    x = m.sqrt(m.log(1 / q)) * mpf("0.9")
    for _ in range(60):
        newton = (m.erfc(x) - q) / (2 / m.sqrt(m.pi) * m.exp(-x * x))
        step = newton / (1 + x * newton)
        x += step
        if abs(step) <= abs(x) * mpf(10) ** -35:
            break
    return x


def erf_inv(y):
    return m.sign(y) * (erf_inv_complement(1 - abs(y)) if abs(y) > 0.5 else m.erfinv(abs(y)))


@functools.cache
def erf_inv_of_w(w):
    """(y, erf_inv(y)) for the y > 0 with -log(1 - y²) = w."""
    v = m.exp(-w)
    y = m.sqrt(1 - v)
    return y, (erf_inv_complement(v / (1 + y)) if y > 0.5 else m.erfinv(y))


def emit(name, comment, coefficients, is32):
    print(f"\n/// {comment}")
    text = []
    for c in coefficients:
        s = "%.9g" % float(c) if is32 else repr(float(c))
        assert not is32 or f32(mpf(s)) == c
        text.append(s if any(x in s for x in ".e") else s + ".0")
    print(f"pub(super) const {name}: [f64; {len(text)}] = [")
    print("".join(f"    {t},\n" for t in text) + "];")


def emit_table(name, comment, table, is32):
    print(f"\n/// {comment}")
    print(f"pub(super) const {name}: [[f64; {len(table[0])}]; {len(table)}] = [")
    for row in table:
        print("    [" + ", ".join("%.9g" % float(c) if is32 else repr(float(c)) for c in row) + "],")
    print("];")


def bits(e):
    return "2^%.1f" % float(m.log(e, 2)) if e else "exact"


def coefficients():
    print("//! Coefficients of the elementary functions, lowest degree first; written by `scripts/elementary.py`.")
    print("//! \"error\" is the largest weighted error of the fit, coefficients rounded, before any arithmetic.")
    print("#![allow(clippy::approx_constant)] // a coefficient near a famous constant is still a coefficient")
    one = lambda x: mpf(1)
    half_ln2 = m.ln(2) / 2 * mpf("1.0001")
    for is32 in (True, False):
        r, tag = (f32, "F32") if is32 else (f64, "F64")
        pick = lambda a, b: a if is32 else b

        c, e = polynomial(lambda x: m.expm1(x) - x, lambda x: 1 / abs(m.expm1(x)), (-half_ln2, half_ln2),
                          range(2, pick(7, 13)), r)
        emit(f"EXP_{tag}", f"exp(r) = 1 + r + r² c(r), |r| <= ln(2)/2; error {bits(e)} of exp(r) - 1.", c, is32)

        c, e = polynomial(lambda x: m.log1p(x) - x, lambda x: 1 / abs(m.log1p(x)), (m.sqrt(.5) - 1, m.sqrt(2) - 1),
                          range(2, pick(11, 23)), r)
        emit(f"LOG_{tag}", f"log(1 + f) = f + f² c(f), sqrt(1/2) <= 1 + f <= sqrt(2); relative error {bits(e)}.", c, is32)


        # pow: log2(m) = 2/ln 2 (s + s³ (1/3 + c(s²) s²)), s = (m - 1)/(m + 1)
        top = (mpf(3) - 2 * m.sqrt(2)) * mpf("1.0001")
        def atanh_tail(z):
            s = m.sqrt(z)
            return (m.atanh(s) / s - 1 - z / 3) / z**2
        c, e = polynomial(atanh_tail, lambda z: z**2, (0, top**2), range(pick(3, 9)), r)
        emit(f"ATANH_{tag}", f"atanh(s) = s + s³/3 + s⁵ c(s²), |s| <= 3 - 2 sqrt(2); relative error {bits(e)}.", c, is32)

        # sin, cos: a little beyond pi/4, where the quotient was rounded the wrong way
        top = mpf("0.83") ** 2
        c, e = polynomial(lambda y: (root_quotient(m.sin, y) - 1), one, (0, top), range(1, pick(4, 8)), r)
        emit(f"SIN_{tag}", f"sin(r) = r + r³ c(r²), |r| <= 0.83; relative error {bits(e)}.", c, is32)
        c, e = polynomial(lambda y: m.cos(m.sqrt(y)) - 1 + y / 2, one, (0, top), range(2, pick(5, 9)), r)
        emit(f"COS_{tag}", f"cos(r) = 1 - r²/2 + r⁴ c(r²), |r| <= 0.83; error {bits(e)}.", c, is32)

        # sin(pi f)/(pi f) as a polynomial: |sin(pi f)| <= 1/2 side is all that reflection needs
        c, e = polynomial(lambda y: root_quotient(m.sin, y * m.pi**2), one, (0, mpf(1) / 4), range(0, pick(6, 11)), r)
        emit(f"SINPI_{tag}", f"sin(pi f) = pi f c(f²), |f| <= 1/2; error {bits(e)}.", c, is32)
        c, e = polynomial(lambda y: m.cos(m.pi * m.sqrt(y)) / (1 - 4 * y) if abs(y - mpf(1) / 4) > 1e-25 else m.pi / 4,
                          one, (0, mpf(1) / 4), range(0, pick(6, 11)), r)
        emit(f"COSPI_{tag}", f"cos(pi f) = (1 - 4 f²) c(f²), |f| <= 1/2; error {bits(e)}.", c, is32)

        c, e = polynomial(lambda w: m.loggamma(2 + w) / (w * (1 + w)), lambda w: w * (1 + w) / m.loggamma(2 + w),
                          (-1, 1), range(pick(14, 29)), r)
        emit(f"LGAMMA_{tag}", f"lgamma(2 + w) = w (1 + w) c(w), |w| <= 1; relative error {bits(e)}.", c, is32)

        root = m.findroot(m.digamma, mpf("1.4616321449683623"))
        c, e = polynomial(lambda w: m.digamma(2 + w) / (2 + w - root), lambda w: (2 + w - root) / m.digamma(2 + w),
                          (-1, 1), range(pick(15, 29)), r)
        emit(f"DIGAMMA_{tag}", f"digamma(2 + w) = (2 + w - root) c(w), |w| <= 1; relative error {bits(e)}.", c, is32)
        hi = r(root)
        emit(f"DIGAMMA_ROOT_{tag}", "The root of digamma near 1.46, in two parts.", [hi, r(root - hi)], is32)

        # erf_inv (Giles 2010), w = -log(1 - y²): near 0 y c(w), in the tails c(sqrt w)
        def middle(x):
            y, value = erf_inv_of_w(x + 3)
            return value / y
        c, e = polynomial(middle, lambda x: 1 / middle(x), (-3, 3.3), range(pick(12, 24)), r)
        emit(f"ERF_INV_{tag}", f"erf_inv(y) = y c(w - 3), w <= 6.25; relative error {bits(e)}.", c, is32)
        tails = pick([(2.5, 4.1, 8)], [(2.5, 4.3, 20), (4.3, 6.1, 16)])
        for number, (a, b, n) in enumerate(tails):
            centre = (mpf(a) + mpf(b)) / 2
            tail = lambda x: erf_inv_of_w((x + centre) ** 2)[1]
            c, e = polynomial(tail, lambda x: 1 / tail(x), (a - centre, b - centre), range(n), r)
            emit(f"ERF_INV_TAIL{number}_{tag}", f"erf_inv(y) = c(sqrt(w) - {float(centre):.4g}), {a} <= sqrt(w) <= {b}; "
                 f"relative error {bits(e)}.", c, is32)

    # Constants in parts: the first as rounded, the next the rounded rest, ...
    mp.dps = 100
    for tag, r, is32 in (("F32", f32, True), ("F64", f64, False)):
        for name, comment, value, parts in (("LN2", "ln 2", m.ln(2), 2), ("PI_2", "pi/2", m.pi / 2, 4),
                                            ("TWO_OVER_LN2", "2/ln 2", 2 / m.ln(2), 2), ("THIRD", "1/3", mpf(1) / 3, 2)):
            out = []
            for _ in range(parts):
                out.append(r(value - sum(out)))
            emit(f"{name}_{tag}", f"{comment} in {parts} parts.", out, is32)

    # 2/pi for sin and cos of large arguments, by the upper bits of the biased exponent.
    mp.dps = 500
    for tag, r, is32, group, base, rows in (("F32", f32, True, 16, 150, range(8, 16)),
                                            ("F64", f64, False, 32, 1075, range(32, 64))):
        table = []
        for row in rows:
            value = 2 / m.pi * mpf(2) ** (group * row - base)
            value -= 4 * m.nint(value / 4)
            out = []
            for _ in range(4):
                out.append(r(value - sum(out)))
            table.append(out)
        emit_table(f"TWO_OVER_PI_{tag}", f"2/pi 2^({group} g - {base}) less the nearest multiple of 4, in 4 parts, for g from "
                   f"{rows[0]} to {rows[-1]}.", table, is32)

    mp.dps = 45
    for f, name, limit, share in ((m.erf, "erf", "3.94", 4), (m.tanh, "tanh", "9.02", 8)):
        p, q, e = rational(lambda y: root_quotient(f, y) - mpf(1) / share, lambda y: 1 / root_quotient(f, y),
                           (0, mpf(limit) ** 2), 5, 5, f32)
        text = f"{name}(x) = x/{share} + x p(x²)/q(x²), |x| <= {limit}; relative error {bits(e)}"
        emit(f"{name.upper()}_ABOVE_F32", text + ". This is p.", p, True)
        emit(f"{name.upper()}_BELOW_F32", text + ". This is q.", q, True)

    c, e = polynomial(lambda y: root_quotient(m.erf, y), one, (0, mpf(1)), range(0, 15), f64)
    emit("ERF_F64", f"erf(x) = x c(x²), |x| <= 1; error {bits(e)}.", c, False)
    x_of = lambda t: 2 * (1 + t) / (1 - t)
    c, e = polynomial(lambda t: m.exp(x_of(t) ** 2) * m.erfc(x_of(t)), lambda t: m.exp(-x_of(t) ** 2),
                      (mpf(-1) / 3, mpf(1) / 2), range(0, 17), f64)
    emit("ERFCX_F64", f"erfc(x) exp(x²) = c((x - 2)/(x + 2)), 1 <= x <= 6; error {bits(e)} of erf.", c, False)
    inverse_tangent()


def inverse_tangent():
    for is32, r, tag in ((True, f32, "F32"), (False, f64, "F64")):
        c, e = polynomial(lambda y: root_quotient(m.atan, y) - 1, lambda y: 1 / root_quotient(m.atan, y), (0, mpf(1)),
                          range(1, 11 if is32 else 24), r)
        emit(f"ATAN_{tag}", f"atan(t) = t + t³ c(t²), |t| <= 1; relative error {bits(e)}.", c, is32)
        first = r(m.log10(2))
        emit(f"LOG10_2_{tag}", "log10(2) in 2 parts.", [first, r(m.log10(2) - first)], is32)


# ---------------------------------------------------------------- references


def references():
    """A line `function count`, then that many times x [y] value residual, and so on. Little-endian: the residual is in
    thousandths of the value's last place, of 16 bits; the others are f64."""
    random = __import__("random").Random(1)
    mp.dps = 60
    uniform = lambda a, b: [random.uniform(a, b) for _ in range(60)]
    spread = lambda a, b: [10 ** random.uniform(a, b) for _ in range(60)]
    both = lambda xs: [x if i % 2 else -x for i, x in enumerate(xs)]
    digamma = lambda x: m.digamma(x)
    one = {
        "exp": (m.exp, uniform(-1, 1) + uniform(-745, 709.7) + uniform(-745, -708) + both(spread(-18, 2))),
        "expm1": (m.expm1, uniform(-1, 1) + uniform(-40, 709.7) + both(spread(-300, 0)) + uniform(-2, 2)),
        "log": (m.log, uniform(0.5, 2) + spread(-323, 308) + [1 + x for x in both(spread(-15, -1))]),
        "log1p": (m.log1p, uniform(-1, 1) + spread(-300, 308) + both(spread(-17, -0.1)) + uniform(0, 5)),
        "tanh": (m.tanh, uniform(-1, 1) + uniform(-22, 22) + both(spread(-300, 0)) + uniform(-4, 4)),
        "sigmoid": (lambda x: 1 / (1 + m.exp(-x)), uniform(-1, 1) + uniform(-744, 40) + uniform(-10, 10)),
        "erf": (m.erf, uniform(-1, 1) + uniform(-7, 7) + both(spread(-300, 0)) + uniform(-2, 2)),
        "sin": (m.sin, uniform(-1, 1) + uniform(-10, 10) + both(spread(-300, 15)) + [i * float(m.pi / 2) for i in range(40)]),
        "cos": (m.cos, uniform(-1, 1) + uniform(-10, 10) + both(spread(-30, 15)) + [i * float(m.pi / 2) for i in range(40)]),
        "rsqrt": (lambda x: 1 / m.sqrt(x), spread(-323, 308) + uniform(0, 4)),
        "lgamma": (lambda x: m.re(m.loggamma(x)), uniform(0, 4) + uniform(4, 20) + spread(-300, 300) + both(spread(-3, 2.2))
                   + [1 + x for x in both(spread(-12, -1))] + [2 + x for x in both(spread(-12, -1))]),
        "digamma": (digamma, uniform(0, 4) + uniform(4, 20) + spread(-300, 300) + both(spread(-3, 2.2))
                    + [1.4616321449683623 + x for x in both(spread(-12, -1))]),
        "erf_inv": (erf_inv, uniform(-1, 1) + both([1 - x for x in spread(-15, -1)]) + both(spread(-300, 0)) + uniform(-0.1, 0.1)),
    }
    lines = [(name, (x,), f(mpf(x))) for name, (f, xs) in one.items() for x in xs]
    mp.dps = 400
    large = __import__("random").Random(2)
    for name, f in (("sin", m.sin), ("cos", m.cos)):
        # Up to the largest number; among the last the double that is nearest to a multiple of pi/2.
        for x in [10 ** large.uniform(14, 308) for _ in range(60)] + [1e22, sys.float_info.max, 6381956970095103 * 2.0**797]:
            lines.append((name, (x,), f(mpf(x))))
    for x in spread(-5, 5) + spread(-300, 300) + uniform(0.5, 2) + [1 + t for t in both(spread(-12, -1))]:
        limit = abs(700 / m.log(x))
        for y in (random.uniform(-1, 1) * float(limit), random.uniform(-3, 3)):
            if abs(y * m.log(x)) < 700:
                lines.append(("pow", (x, y), m.power(mpf(x), mpf(y))))
    inverses(lines)
    for name, points in itertools.groupby(lines, key=lambda line: line[0]):
        points = list(points)
        sys.stdout.buffer.write(f"{name} {len(points)}\n".encode())
        for _, xs, value in points:
            rounded = float(value)
            ulp = m.ldexp(1, max(m.frexp(mpf(rounded))[1] - 53, -1074))
            residual = round(1000 * float((value - mpf(rounded)) / ulp))
            sys.stdout.buffer.write(struct.pack(f"<{len(xs) + 1}dh", *xs, rounded, residual))


def inverses(lines):
    """Trigonometric functions and their inverses, hyperbolic ones, logarithms to other bases."""
    random = __import__("random").Random(3)
    mp.dps = 400
    uniform = lambda a, b: [random.uniform(a, b) for _ in range(40)]
    spread = lambda a, b: [10 ** random.uniform(a, b) for _ in range(40)]
    both = lambda xs: [x if i % 2 else -x for i, x in enumerate(xs)]
    near_one = both([1 - x for x in spread(-15, -1)])
    one = {
        "tan": (m.tan, uniform(-1, 1) + uniform(-10, 10) + both(spread(-300, 15)) + [i * float(m.pi / 2) for i in range(40)] + spread(14, 308)),
        "asin": (m.asin, uniform(-1, 1) + both(spread(-300, 0)) + near_one),
        "acos": (m.acos, uniform(-1, 1) + both(spread(-300, 0)) + near_one),
        "atan": (m.atan, uniform(-1, 1) + uniform(-4, 4) + both(spread(-300, 300)) + near_one + [1 + x for x in both(spread(-12, -1))]),
        "sinh": (m.sinh, uniform(-1, 1) + uniform(-710, 710) + both(spread(-300, 0)) + uniform(705, 710.4)),
        "cosh": (m.cosh, uniform(-1, 1) + uniform(-710, 710) + both(spread(-300, 0)) + uniform(705, 710.4)),
        "asinh": (m.asinh, uniform(-1, 1) + uniform(-20, 20) + both(spread(-300, 308)) + both(spread(15, 18))),
        "acosh": (m.acosh, uniform(1, 3) + spread(0, 308) + [1 + x for x in spread(-15, 0)] + spread(15, 18)),
        "atanh": (m.atanh, uniform(-1, 1) + both(spread(-300, 0)) + near_one),
        "log2": (lambda x: m.log(x, 2), uniform(0.5, 2) + spread(-323, 308) + [1 + x for x in both(spread(-15, -1))] + [2.0**i for i in range(-40, 40)]),
        "log10": (m.log10, uniform(0.5, 2) + spread(-323, 308) + [1 + x for x in both(spread(-15, -1))] + [10.0**i for i in range(20)]),
    }
    few = lambda xs: [xs[i * len(xs) // 102] for i in range(102)]
    lines += [(name, (x,), f(mpf(x))) for name, (f, xs) in one.items() for x in few(xs)]
    for scale in (both(spread(-300, 300)), both(spread(-2, 2)), uniform(-1, 1)):
        for x in scale[:18]:
            for y in (x * random.uniform(-3, 3), random.uniform(-2, 2)):
                lines.append(("atan2", (y, x), m.atan2(mpf(y), mpf(x))))


if __name__ == "__main__":
    {"coefficients": coefficients, "references": references}[sys.argv[1]]()
