package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/maquis-go/maquis/overlay/sim"
)

// Scenario is a simulation written down: a network, and the steps that it goes
// through. Its form in files is JSON with these names.
type Scenario struct {
	Name    string `json:"name,omitempty"`
	Overlay string `json:"overlay"`
	Tree    string `json:"tree,omitempty"` // "" is plumtree
	Nodes   int    `json:"nodes"`
	Seed    uint64 `json:"seed,omitempty"`

	// Of views; 0: the overlay's defaults.
	Active  int `json:"active,omitempty"`
	Passive int `json:"passive,omitempty"`

	// Of links.
	Latency Duration     `json:"latency,omitempty"` // 0 is 1 µs: what counts are hops
	Jitter  Duration     `json:"jitter,omitempty"`
	Sigma   float64      `json:"sigma,omitempty"`
	Loss    float64      `json:"loss,omitempty"`
	Rate    int64        `json:"rate,omitempty"`   // bytes per second
	Window  int64        `json:"window,omitempty"` // bytes
	Regions [][]Duration `json:"regions,omitempty"`
	// Detect is how crashes are found: "reset" (the default: the links of a
	// crashed process are reset, which is what HyParView takes TCP for), "send"
	// (when something is sent to the crashed node) or "silence".
	Detect string   `json:"detect,omitempty"`
	Silent Duration `json:"silent,omitempty"`

	Sizes bool   `json:"sizes,omitempty"` // count bytes, too
	Check bool   `json:"check,omitempty"` // verify each machine after each of its steps
	Steps []Step `json:"steps"`
}

// Step is one thing that happens. Do says what, and which of the other fields
// count; each of the verbs documents its own.
type Step struct {
	// Do is one of:
	//   join       all nodes join one by one through the first, with no time
	//              between; with At set, all at once
	//   cycles     Cycles times Cycle pass
	//   run        For passes
	//   crash      Fraction of the nodes or the ones listed in Nodes crash
	//   restart    Nodes, or all that crashed, begin a new life and join
	//   leave      Fraction or Nodes leave in order
	//   partition  nodes are cut into two parts, Fraction of them in the first
	//   cut        what goes from A to B is lost, in this direction only
	//   heal       partitions and cuts end
	//   suspend    Nodes stop for For
	//   slow       Fraction or Nodes are slower by For
	//   lose       Fraction of the messages vanish from now on
	//   flap       the way between A and B is cut and mended every For, Times times
	//   broadcast  Messages broadcasts from Senders ("one" or "random"); with
	//              Churn, that many nodes crash and a cycle passes before each
	//   measure    the overlay is measured
	Do       string   `json:"do"`
	Nodes    []int    `json:"nodes,omitempty"`
	Fraction float64  `json:"fraction,omitempty"`
	For      Duration `json:"for,omitempty"`
	Cycles   int      `json:"cycles,omitempty"`
	At       bool     `json:"at_once,omitempty"`
	A        int      `json:"a,omitempty"`
	B        int      `json:"b,omitempty"`
	Times    int      `json:"times,omitempty"`
	Messages int      `json:"messages,omitempty"`
	Senders  string   `json:"senders,omitempty"`
	Churn    int      `json:"churn,omitempty"`
	Size     int      `json:"size,omitempty"` // of a broadcast's payload, bytes
}

// Duration is a time.Duration, written as in Go: "10ms".
type Duration time.Duration

// Std is the time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.Std().String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`%q is no duration; write it as "10ms" or "2s"`, text)
	}
	*d = Duration(v)
	return nil
}

// Parse reads a scenario. An unknown name, verb or a value that cannot be used
// is an error that says what to write.
func Parse(text []byte) (*Scenario, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var s Scenario
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("scenario: line %d: %w", line(text, err, dec.InputOffset()), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("scenario: line %d: there is more after the scenario; a file holds one", 1+bytes.Count(text[:dec.InputOffset()], []byte("\n")))
	}
	return &s, s.Validate()
}

// line is the one at which decoding failed.
func line(text []byte, err error, offset int64) int {
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &typed):
		offset = typed.Offset
	}
	return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n"))
}

// MaxNodes bounds a scenario, since each node takes memory.
const MaxNodes = 1_000_000

var verbs = []string{"join", "cycles", "run", "crash", "restart", "leave", "partition", "cut", "heal", "suspend", "slow", "lose", "flap", "broadcast", "measure"}

// Validate reports everything that is wrong, and fills in what was left out.
func (s *Scenario) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("scenario: "+format, args...)) }
	if s.Tree == "" {
		s.Tree = Trees()[0]
	}
	if !slices.Contains(Overlays(), s.Overlay) {
		wrong("there is no overlay %q; use one of %s", s.Overlay, strings.Join(Overlays(), ", "))
	}
	if !slices.Contains(Trees(), s.Tree) {
		wrong("there is no tree %q; use one of %s", s.Tree, strings.Join(Trees(), ", "))
	}
	if s.Nodes < 1 || s.Nodes > MaxNodes {
		wrong("%d nodes; use 1 to %d", s.Nodes, MaxNodes)
	}
	if k := slices.IndexFunc(kinds, func(k kind) bool { return k.name == s.Overlay }); k >= 0 && kinds[k].members && s.Nodes > maxMembers {
		wrong("%d nodes, each of which knows all; with %s use at most %d", s.Nodes, s.Overlay, maxMembers)
	}
	if s.Latency == 0 && len(s.Regions) == 0 {
		s.Latency = Duration(time.Microsecond)
	}
	if !slices.Contains([]string{"", "send", "reset", "silence"}, s.Detect) {
		wrong(`detect is %q; use "send", "reset" or "silence"`, s.Detect)
	}
	if err := s.model().Validate(); err != nil {
		errs = append(errs, err)
	}
	for i := range s.Steps {
		if err := s.Steps[i].validate(s.Nodes); err != nil {
			wrong("step %d (%s): %v", i+1, s.Steps[i].Do, err)
		}
	}
	return errors.Join(errs...)
}

// maxMembers bounds overlays in which each node knows all.
const maxMembers = 4000

func (p *Step) validate(nodes int) error {
	if !slices.Contains(verbs, p.Do) {
		return fmt.Errorf("there is no such verb; use one of %s", strings.Join(verbs, ", "))
	}
	for _, n := range append([]int{p.A, p.B}, p.Nodes...) {
		if n < 0 || n >= nodes {
			return fmt.Errorf("there is no node %d among %d; they are counted from 0", n, nodes)
		}
	}
	switch {
	case p.Fraction < 0 || p.Fraction > 1:
		return fmt.Errorf("a fraction of %v; use 0 to 1", p.Fraction)
	case p.Cycles < 0 || p.Messages < 0 || p.Churn < 0 || p.Times < 0 || p.For < 0 || p.Size < 0:
		return errors.New("numbers and times must not be negative")
	case p.Messages > 1_000_000 || p.Cycles > 1_000_000 || p.Size > 1<<20:
		return errors.New("at most a million messages or cycles, and payloads of 1 MiB")
	case !slices.Contains([]string{"", "one", "random"}, p.Senders):
		return fmt.Errorf(`senders is %q; use "one" or "random"`, p.Senders)
	}
	return nil
}

func (s *Scenario) model() sim.Model {
	m := sim.Model{Latency: s.Latency.Std(), Jitter: s.Jitter.Std(), Sigma: s.Sigma, Loss: s.Loss, Rate: s.Rate, Window: s.Window}
	for _, row := range s.Regions {
		var list []time.Duration
		for _, d := range row {
			list = append(list, d.Std())
		}
		m.Regions = append(m.Regions, list)
	}
	return m
}

func (s *Scenario) detection() sim.Detection {
	switch s.Detect {
	case "send":
		return sim.OnSend
	case "silence":
		return sim.OnSilence
	}
	return sim.OnReset
}
