package doctor

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/maquis-go/maquis/peerservice/discovery/introduce"
)

// Report is what an examination found.
type Report struct {
	Node       string      `json:"node"`
	Cluster    string      `json:"cluster"`
	OK         bool        `json:"ok"` // at least one candidate would let the node in
	Sources    []Source    `json:"sources"`
	Candidates []Candidate `json:"candidates"` // by address
}

// Source is what a strategy answered.
type Source struct {
	Name       string     `json:"name"`
	Candidates int        `json:"candidates"`
	Partial    bool       `json:"partial,omitempty"` // it is known to have named not all
	Error      string     `json:"error,omitempty"`
	Missing    string     `json:"missing,omitempty"` // manifests to apply, as YAML
	Unheeded   []Unheeded `json:"unheeded,omitempty"`
}

// Unheeded are packets that Multicast heard and dropped.
type Unheeded struct {
	From    string `json:"from"`
	Reason  string `json:"reason"` // a constant Drop… of package discovery
	Packets int    `json:"packets"`
}

// Candidate is what came of trying an address.
type Candidate struct {
	Addr        string        `json:"addr"`
	Sources     []string      `json:"sources"`
	Said        string        `json:"said,omitempty"` // the node's name by the source
	Node        string        `json:"node,omitempty"` // the node's name by itself
	Verdict     string        `json:"verdict"`        // in words: ok, refused, timeout, wrong secret, other cluster, …
	Reason      string        `json:"reason,omitempty"`
	Admits      bool          `json:"admits"` // it would let the node in
	Detail      string        `json:"detail,omitempty"`
	Remedy      string        `json:"remedy,omitempty"`
	Terminating bool          `json:"terminating,omitempty"` // its source says that it ends: nodes do not dial it
	Skew        time.Duration `json:"skew_ns,omitempty"`     // its clock against ours
	Took        time.Duration `json:"took_ns,omitempty"`     // dial and handshake
	own         bool
}

// verdicts are the reasons in words; others are written with blanks.
var verdicts = map[string]string{
	"": "ok", "wrong_cluster": "other cluster", "wrong_name": "name mismatch", nameMismatch: "name mismatch", clockSkew: "clock skew", "name": "no such host", "address": "not to be dialed",
	"self": "this node",
}

// remedies are those of reasons that only the doctor gives.
var remedies = map[string]string{
	clockSkew:    "set the clocks of both hosts, as by NTP: announcements more than 30 s off are dropped, and certificates are refused before and after their time",
	nameMismatch: "the source is out of date, or calls nodes otherwise than they call themselves: this alone keeps nobody out",
	"bad_frame":  "the node does not understand the question: upgrade it",
}

func wordOf(reason string) string {
	if word, ok := verdicts[reason]; ok {
		return word
	}
	return strings.ReplaceAll(reason, "_", " ")
}

func remedyOf(reason string) string { return cmp.Or(remedies[reason], introduce.Remedy(reason)) }

// is sets the verdict by a reason.
func (c Candidate) is(reason string, err error) Candidate {
	c.Reason, c.Verdict, c.Admits = reason, wordOf(reason), reason == ""
	c.Remedy = remedyOf(reason)
	if err != nil {
		c.Detail, _, _ = strings.Cut(err.Error(), "\n")
	}
	return c
}

// conclude judges what the candidates say of each other: a node whose name is taken
// may be the one that runs at its own address.
func (r *Report) conclude(self string) {
	running := false
	for i := range r.Candidates {
		c := &r.Candidates[i]
		// It refuses its own name, or it is not there, as it does not run.
		if c.own && (c.Node == self || c.Reason == "refused") {
			running = running || c.Node == self
			detail := map[bool]string{true: "it runs", false: "it does not run"}[c.Node == self]
			*c = c.is("self", nil)
			c.Detail, c.Remedy = detail, ""
		}
	}
	for i := range r.Candidates {
		c := &r.Candidates[i]
		if running && c.Reason == "name_taken" || c.Reason == "down" { // it would come back in its next generation
			*c = c.is("", nil)
			c.Detail = "it knows this node"
		}
		r.OK = r.OK || c.Admits
	}
}

// String is the report for people: what each source says, a line for each candidate,
// and the remedies.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s of cluster %s\n", r.Node, r.Cluster)
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, s := range r.Sources {
		fmt.Fprintf(w, "source\t%s\t%s\n", s.Name, s.text())
	}
	var advice []string
	seen := make(map[string]bool)
	admit := 0
	advise := func(what, remedy string) {
		if remedy != "" && !seen[what] {
			seen[what] = true
			advice = append(advice, what+": "+remedy)
		}
	}
	for _, s := range r.Sources {
		for _, u := range s.Unheeded {
			advise(wordOf(u.Reason), remedyOf(u.Reason))
		}
	}
	for _, c := range r.Candidates {
		fmt.Fprintf(w, "candidate\t%s\t%s\n", c.Addr, c.text())
		advise(c.Verdict, c.Remedy)
		if c.Admits {
			admit++
		}
	}
	w.Flush()
	for _, a := range advice {
		b.WriteString(a + "\n")
	}
	for _, s := range r.Sources {
		if s.Missing != "" {
			fmt.Fprintf(&b, "%s: this is missing; correct names and labels and apply it:\n\n%s\n", s.Name, s.Missing)
		}
	}
	switch {
	case len(r.Sources) == 0:
		b.WriteString("neither seeds nor discovery are configured: nobody is looked for; set join.seeds or join.discovery\n")
	case len(r.Candidates) == 0:
		b.WriteString("no source names a candidate\n")
	default:
		fmt.Fprintf(&b, "%d of %d candidates would let this node in\n", admit, len(r.Candidates))
	}
	return b.String()
}

func (s Source) text() string {
	text := fmt.Sprintf("%d candidates", s.Candidates)
	if s.Partial {
		text += ", not all"
	}
	if s.Error != "" {
		first, _, _ := strings.Cut(s.Error, "\n")
		text += ": " + first
	}
	for _, u := range s.Unheeded {
		text += fmt.Sprintf("; %d packets from %s not heeded (%s)", u.Packets, u.From, wordOf(u.Reason))
	}
	return text
}

func (c Candidate) text() string {
	text := c.Verdict
	if c.Node != "" {
		text += ", node " + c.Node
	}
	if c.Terminating {
		text += ", about to end"
	}
	if c.Admits && c.Took > 0 {
		text += fmt.Sprintf(", in %v", c.Took)
	}
	if c.Detail != "" {
		text += ": " + c.Detail
	}
	return text
}
