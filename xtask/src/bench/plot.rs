//! A plot of a few lines, as SVG.

use std::fmt::Write as _;

/// A line.
pub(super) struct Series {
    /// What varies along it.
    pub(super) name: &'static str,
    /// The number of that, and the measured value.
    pub(super) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
/// Room for the half of the last number that stands out.
const MARGIN: f64 = 24.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 48.0;
/// Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// Draws lines over a logarithmic scale, with values from 0 on.
pub(super) fn svg(title: &str, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|series| &series.points);
    let decades = points()
        .map(|(number, _)| number.log10())
        .fold(1.0, f64::max)
        .ceil();
    let highest = points().map(|(_, value)| *value).fold(1.0, f64::max);
    // A round number of lines, one every 200.
    let highest = (highest / 200.0).ceil() * 200.0;
    let x = |number: f64| LEFT + number.log10() / decades * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / highest * (HEIGHT - TOP - BOTTOM);
    let width = WIDTH + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}</text>\n"
    );
    let mut value = 0.0;
    while value <= highest {
        line(&mut svg, (LEFT, y(value)), (WIDTH - RIGHT, y(value)));
        text(
            &mut svg,
            (LEFT - 6.0, y(value) + 4.0),
            "end",
            &format!("{value:.0}"),
        );
        value += 200.0;
    }
    let mut decade = 0.0;
    while decade <= decades {
        let number = 10_f64.powf(decade);
        line(&mut svg, (x(number), TOP), (x(number), HEIGHT - BOTTOM));
        let at = (x(number), HEIGHT - BOTTOM + 16.0);
        text(&mut svg, at, "middle", &format!("{number:.0}"));
        decade += 1.0;
    }
    let mut legend = LEFT;
    for (series, colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let corners: Vec<_> = series
            .points
            .iter()
            .map(|(number, value)| format!("{:.1},{:.1}", x(*number), y(*value)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            corners.join(" ")
        );
        let _ = writeln!(
            svg,
            "<text x=\"{legend:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            HEIGHT - 10.0,
            series.name
        );
        legend += 9.0 * series.name.len() as f64 + 24.0;
    }
    svg.push_str("</svg>\n");
    svg
}

// Writing to a `String` cannot fail.

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>",
        at.0, at.1
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_where_the_scales_say() {
        let series = [
            Series {
                name: "functions",
                points: vec![(1.0, 0.0), (100.0, 800.0)],
            },
            Series {
                name: "processes",
                points: vec![(10.0, 400.0)],
            },
        ];
        let svg = svg("what a call adds, in ns", &series);
        assert!(
            svg.contains("<polyline points=\"64.0,312.0 704.0,40.0\""),
            "{svg}"
        );
        assert!(svg.contains("<polyline points=\"384.0,176.0\""), "{svg}");
        assert!(svg.contains(">what a call adds, in ns</text>"));
        assert!(svg.ends_with("</svg>\n"));
    }
}
