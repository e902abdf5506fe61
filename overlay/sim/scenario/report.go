package scenario

import (
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/maquis-go/maquis/overlay/sim"
)

// Report is what a scenario showed.
type Report struct {
	Name    string `json:"name,omitempty"`
	Overlay string `json:"overlay"`
	Tree    string `json:"tree"`
	Nodes   int    `json:"nodes"`
	Seed    uint64 `json:"seed"`

	// The overlay at the last step "measure", or at the end.
	sim.Graph

	Broadcasts []sim.Broadcast `json:"broadcasts"`

	Live        int     `json:"live"`
	MeanReached float64 `json:"mean_reliability"`
	MeanRMR     float64 `json:"mean_rmr"`
	MeanLastHop float64 `json:"mean_last_hop"`
	MinReached  float64 `json:"min_reliability"`
	Membership  uint64  `json:"membership_messages"` // received
	Payload     uint64  `json:"payload_messages"`
	Control     uint64  `json:"control_messages"`
	Bytes       uint64  `json:"bytes"` // sent, if counted
	Lost        uint64  `json:"lost"`
	Rejected    uint64  `json:"rejected"`
	Dials       uint64  `json:"dials"`
	VirtualS    float64 `json:"virtual_seconds"`

	TraceHash   string  `json:"trace_hash"`
	Events      uint64  `json:"events"`
	WallSeconds float64 `json:"wall_seconds"`
	PeakBytes   uint64  `json:"peak_bytes"` // of memory taken from the system
}

// finish fills in what is known at the end.
func (r *Report) finish(w *sim.World, took time.Duration) {
	if r.Graph.Degree == nil {
		r.Graph = w.Graph()
	}
	r.Live = len(w.Live())
	t := w.Totals()
	r.Membership, r.Payload, r.Control = t.Received[sim.Membership], t.Received[sim.Payload], t.Received[sim.Control]
	r.Bytes, r.Lost, r.Rejected, r.Dials = t.Bytes, t.Lost, t.Rejected, t.Dials
	r.VirtualS = float64(w.Now()) / 1e9
	r.TraceHash = fmt.Sprintf("%016x", w.Hash())
	r.Events, r.WallSeconds = w.Events(), took.Seconds()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.PeakBytes = m.Sys
	if n := float64(len(r.Broadcasts)); n > 0 {
		r.MinReached = 1
		for _, b := range r.Broadcasts {
			r.MeanReached += b.Reliability / n
			r.MeanRMR += b.RMR / n
			r.MeanLastHop += float64(b.LastHop) / n
			r.MinReached = min(r.MinReached, b.Reliability)
		}
	}
}

// String is the report as a table.
func (r *Report) String() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-24s"+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintf(&b, "%s over %s, %d nodes, seed %d\n", r.Tree, r.Overlay, r.Nodes, r.Seed)
	row("components", "%d, the largest of %d", r.Components, r.Largest)
	row("clustering", "%.5f", r.Clustering)
	row("path, mean and longest", "%.3f, %d", r.AvgPath, r.MaxPath)
	var degrees []string
	for _, d := range slices.Sorted(maps.Keys(r.Degree)) {
		degrees = append(degrees, fmt.Sprintf("%d: %d", d, r.Degree[d]))
	}
	if len(degrees) > 12 {
		degrees = append(append(degrees[:6:6], "…"), degrees[len(degrees)-5:]...)
	}
	row("nodes by degree", "%s", strings.Join(degrees, ", "))
	row("asymmetric", "%d", r.Asymmetric)
	if n := len(r.Broadcasts); n > 0 {
		row("broadcasts", "%d", n)
		row("reliability", "mean %.4f, least %.4f, first %.4f", r.MeanReached, r.MinReached, r.Broadcasts[0].Reliability)
		row("redundancy (RMR)", "mean %.3f, last %.3f", r.MeanRMR, r.Broadcasts[n-1].RMR)
		row("last delivery hop", "mean %.2f", r.MeanLastHop)
	}
	row("messages", "%d membership, %d payload, %d control", r.Membership, r.Payload, r.Control)
	row("virtual time", "%.1f s, %d events, trace %s", r.VirtualS, r.Events, r.TraceHash)
	row("took", "%.1f s, %.0f MB", r.WallSeconds, float64(r.PeakBytes)/1e6)
	return b.String()
}

// figures are the numbers by which reports are compared.
func (r *Report) figures() map[string]float64 {
	return map[string]float64{
		"clustering": r.Clustering, "avg_path": r.AvgPath, "max_path": float64(r.MaxPath), "asymmetric": float64(r.Asymmetric),
		"components": float64(r.Components), "largest_component": float64(r.Largest), "live": float64(r.Live),
		"mean_reliability": r.MeanReached, "min_reliability": r.MinReached, "mean_rmr": r.MeanRMR, "mean_last_hop": r.MeanLastHop,
		"membership_messages": float64(r.Membership), "payload_messages": float64(r.Payload), "control_messages": float64(r.Control),
	}
}

// Difference is a figure in which two reports differ.
type Difference struct {
	Figure string
	A, B   float64
}

// String is the difference on one line.
func (d Difference) String() string { return fmt.Sprintf("%s: %g and %g", d.Figure, d.A, d.B) }

// Compare lists the figures that differ by more than a part of the greater.
func Compare(a, b *Report, tolerance float64) []Difference {
	var list []Difference
	x, y := a.figures(), b.figures()
	for _, name := range slices.Sorted(maps.Keys(x)) {
		if math.Abs(x[name]-y[name]) > tolerance*max(math.Abs(x[name]), math.Abs(y[name])) {
			list = append(list, Difference{name, x[name], y[name]})
		}
	}
	return list
}
