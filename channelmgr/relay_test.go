package channelmgr_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
)

// What is passed on for others does not go over a circuit: that might be the very
// one whose segments they are, which waits for itself then. It is dropped.
func TestNoCircuitOnACircuit(t *testing.T) {
	tr := transport.NewMemory()
	a, b := start(t, "a", tr, handshake.ModeInsecure), start(t, "b", tr, handshake.ModeInsecure)
	s := a.connect(b)
	waits := s.PassOnRelayed(frame.AppendRelay(nil, frame.Relay{Hops: 1, Circuit: 7, From: a.reg.Self(), To: b.reg.Self(), Body: []byte("x")}))
	require.Eventually(t, func() bool { return waits() == 0 }, 10*time.Second, time.Millisecond)
	require.NotContains(t, a.reg.Stats(), "link_ended_bad_frame")
	require.NotContains(t, b.reg.Stats(), "link_ended_bad_frame")
}
