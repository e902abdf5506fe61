package overlaytest

import (
	"bufio"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maquis-go/maquis/overlay"
)

var update = flag.Bool("update", false, "rewrite the expectations of golden scripts")

// Handler executes one command of a script and returns what it prints.
type Handler func(t *testing.T, args []string) string

// Script runs every file that matches a pattern as a subtest. A file consists
// of blocks: commands, one a line, then "----", then what they print, then an
// empty line; # begins a comment in the command part. With -update the
// expectations are rewritten. fresh makes the handler of one file.
func Script(t *testing.T, pattern string, fresh func(t *testing.T) Handler) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts match %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := run(t, string(b), fresh(t))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(b) {
				t.Errorf("%s: the script prints something else (rewrite with -update)\n%s", file, diff(string(b), got))
			}
		})
	}
}

// Stories runs scripts on worlds of one machine per node. What they print are
// the machines' messages, notices and links; after each command the machines
// that are overlay.Checkers are checked.
func Stories(t *testing.T, pattern string, cfg Config, machine func(self overlay.Peer, rng *rand.Rand) overlay.Machine) {
	t.Helper()
	Script(t, pattern, func(t *testing.T) Handler {
		var trace strings.Builder
		cfg := cfg
		cfg.Factory = func(self overlay.Peer, rng *rand.Rand) *Node {
			return &Node{Machines: []Instance{{Name: "main", Machine: machine(self, rng)}}}
		}
		cfg.Trace = func(line string) {
			if strings.Contains(line, " ! ") || strings.Contains(line, "-> ") || strings.Contains(line, "connect ") {
				trace.WriteString(line + "\n")
			}
		}
		w := NewWorld(cfg)
		return func(t *testing.T, args []string) string {
			out, ok := w.Command(args)
			if !ok {
				t.Fatalf("there is no command %q", args[0])
			}
			for _, l := range w.Lives() {
				if c, ok := l.Machine("main").(overlay.Checker); ok && c.Check() != nil {
					t.Fatalf("after %q: %v", args, c.Check())
				}
			}
			defer trace.Reset()
			return trace.String() + out
		}
	})
}

// run executes a script and returns it with what was printed in place of the
// expectations.
func run(t *testing.T, script string, h Handler) string {
	var out strings.Builder
	var block []string
	expecting := false
	sc := bufio.NewScanner(strings.NewReader(script))
	for sc.Scan() {
		line := sc.Text()
		switch {
		case line == "----" && !expecting:
			expecting = true
			out.WriteString("----\n")
			for _, c := range block {
				if args := strings.Fields(c); len(args) > 0 && !strings.HasPrefix(c, "#") {
					out.WriteString(h(t, args))
				}
			}
			out.WriteString("\n")
			block = nil
		case expecting:
			expecting = line != "" // an empty line ends what was expected
		default:
			out.WriteString(line + "\n")
			block = append(block, line)
		}
	}
	for _, c := range block {
		if args := strings.Fields(c); len(args) > 0 && !strings.HasPrefix(c, "#") {
			t.Fatalf("the script ends with commands but no ----: %q", c)
		}
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// diff shows the lines from the first that differs on.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	i := 0
	for i < len(w) && i < len(g) && w[i] == g[i] {
		i++
	}
	show := func(sign string, lines []string) string {
		var b strings.Builder
		for _, l := range lines[i:min(i+15, len(lines))] {
			b.WriteString(sign + l + "\n")
		}
		return b.String()
	}
	return "from line " + itoa(i+1) + " on\n" + show("- ", w) + show("+ ", g)
}
