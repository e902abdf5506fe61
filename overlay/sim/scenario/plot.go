package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Of a plot, in pixels.
const (
	plotWidth  = 720
	plotHeight = 360
	plotMargin = 48
)

// Plot draws, as SVG, the reliability of each broadcast and its last hop, or
// the nodes by degree if there were no broadcasts.
func (r *Report) Plot() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<text x="%d" y="20">%s over %s, %d nodes, seed %d</text>`+"\n", plotMargin, r.Tree, r.Overlay, r.Nodes, r.Seed)
	if len(r.Broadcasts) == 0 {
		degrees := slices.Sorted(maps.Keys(r.Degree))
		var x, y []float64
		for _, d := range degrees {
			x, y = append(x, float64(d)), append(y, float64(r.Degree[d]))
		}
		axes(&b, "neighbors", "nodes", x[0], x[len(x)-1], 0, slices.Max(y))
		line := points(x, y, x[0], x[len(x)-1], 0, slices.Max(y))
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="#1565c0" stroke-width="2"/>`+"\n", line)
	} else {
		var x, reached, hops []float64
		for i, c := range r.Broadcasts {
			x, reached, hops = append(x, float64(i+1)), append(reached, 100*c.Reliability), append(hops, float64(c.LastHop))
		}
		last := float64(len(x))
		axes(&b, "broadcast", "reached, % (blue); last hop (orange)", 1, last, 0, 100)
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="#ef6c00"/>`+"\n", points(x, hops, 1, last, 0, 100))
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="#1565c0" stroke-width="2"/>`+"\n", points(x, reached, 1, last, 0, 100))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// axes draws the frame and the ends of the scales.
func axes(b *strings.Builder, x, y string, x0, x1, y0, y1 float64) {
	right, bottom := plotWidth-plotMargin, plotHeight-plotMargin
	fmt.Fprintf(b, `<path d="M%d %dV%dH%d" fill="none" stroke="black"/>`+"\n", plotMargin, plotMargin, bottom, right)
	label := func(px, py int, anchor, text string) {
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s">%s</text>`+"\n", px, py, anchor, text)
	}
	label(plotMargin, bottom+18, "middle", fmt.Sprintf("%g", x0))
	label(right, bottom+18, "middle", fmt.Sprintf("%g", x1))
	label((plotMargin+right)/2, bottom+34, "middle", x)
	label(plotMargin-6, bottom, "end", fmt.Sprintf("%g", y0))
	label(plotMargin-6, plotMargin+4, "end", fmt.Sprintf("%g", y1))
	label(plotMargin, plotMargin-10, "start", y)
}

// points places values in the frame.
func points(x, y []float64, x0, x1, y0, y1 float64) string {
	place := func(v, from, to float64, length int) float64 {
		if to == from {
			return float64(length) / 2
		}
		return (v - from) / (to - from) * float64(length)
	}
	var list []string
	for i := range x {
		px := plotMargin + place(x[i], x0, x1, plotWidth-2*plotMargin)
		py := plotHeight - plotMargin - place(y[i], y0, y1, plotHeight-2*plotMargin)
		list = append(list, fmt.Sprintf("%.1f,%.1f", px, py))
	}
	return strings.Join(list, " ")
}
