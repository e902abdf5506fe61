package overlaytest

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/overlay"
)

// Recorder is a machine that wraps another: it writes down every event and
// effect, and panics with the trace of the step if an invariant is broken.
type Recorder struct {
	Name     string
	Machine  overlay.Machine
	Describe func(proto.Message) string // nil: Describe
	Notice   func(any) string           // nil: DescribeNotice
	Lines    func(line string)          // takes the trace, line by line
}

// Step implements overlay.Machine.
func (r *Recorder) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	msg, notice := r.Describe, r.Notice
	if msg == nil {
		msg = Describe
	}
	if notice == nil {
		notice = DescribeNotice
	}
	var step []string
	line := func(s string) {
		s = now.String() + " " + r.Name + " " + s
		step = append(step, s)
		if r.Lines != nil {
			r.Lines(s)
		}
	}
	line(DescribeEvent(ev, msg))
	before := out.Len()
	r.Machine.Step(now, ev, out)
	for _, e := range out.All()[before:] {
		line(DescribeEffect(e, msg, notice))
	}
	if c, ok := r.Machine.(overlay.Checker); ok {
		if err := c.Check(); err != nil {
			panic(fmt.Sprintf("%v\nafter\n%s", err, strings.Join(step, "\n")))
		}
	}
}

// String is that of the machine.
func (r *Recorder) String() string { return fmt.Sprint(r.Machine) }
