package channelmgr_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
)

// place is one life of a node of the random traffic.
type place struct {
	*node
	name    string
	life    int
	w       *traffic
	mu      sync.Mutex
	crashed atomic.Bool
	got     []*sent
	past    map[int]bool   // causal messages sent and delivered here
	shut    chan struct{}  // nil: open; targets "slow" wait for it
	told    map[string]int // how many were told to be lost, perhaps lost or dropped, by flow
}

// flowOf names a flow, or with it that of the channel's twin.
func flowOf(to *place, channel string, slot uint8) string {
	base, _, _ := strings.Cut(channel, "+")
	return fmt.Sprint(to, " on ", base, " ", slot)
}

func (p *place) String() string { return fmt.Sprint(p.name, ".", p.life) }

func (p *place) TryReceive(m *channelmgr.Incoming) (messages.Reason, bool) {
	p.mu.Lock()
	wait := p.shut != nil && m.Target.ID == "slow"
	p.mu.Unlock()
	if wait {
		return "", false
	}
	return p.Receive(m), true
}

func (p *place) Receive(m *channelmgr.Incoming) messages.Reason {
	p.mu.Lock()
	shut := p.shut
	if p.crashed.Load() {
		shut = nil
	}
	p.mu.Unlock()
	if shut != nil && m.Target.ID == "slow" {
		<-shut
	}
	text, _, _ := strings.Cut(m.Msg.(*wrapperspb.StringValue).Value, " ")
	id, err := strconv.Atoi(text)
	require.NoError(p.t, err)
	p.w.mu.Lock()
	s := p.w.all[id]
	p.w.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, s)
	if s.past != nil {
		p.past[s.id] = true
		for id := range s.past {
			p.past[id] = true
		}
	}
	return ""
}

func (p *place) Undelivered(u channelmgr.Undelivered) {
	p.tell(u.Session, u.Channel, channelmgr.SlotOf(u.Target), 1)
}

func (p *place) tell(s *channelmgr.Session, channel string, slot uint8, n int) {
	p.w.mu.Lock()
	lives := p.w.lives
	p.w.mu.Unlock()
	for _, to := range lives {
		if to.reg.Self().Same(s.Peer()) {
			p.mu.Lock()
			p.told[flowOf(to, channel, slot)] += n
			p.mu.Unlock()
			return
		}
	}
	p.t.Errorf("%s is told of messages to %v, which is nobody", p, s.Peer())
}

func (p *place) Lost(l channelmgr.Loss) { p.tell(l.Session, l.Channel, l.Slot, int(l.To-l.From)) }

// open lets slow targets go on.
func (p *place) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut != nil {
		close(p.shut)
		p.shut = nil
	}
}
