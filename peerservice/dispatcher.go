package peerservice

import "github.com/asynkron/protoactor-go/actor"

// deep is the dispatcher of parts, whose handling of a message goes deep: decoding,
// a machine, its effects. For each burst of messages protoactor starts a goroutine,
// whose stack would grow to what that needs in steps, each a copy of what is on it.
// It is given the room while there is little to copy. Safe for concurrent use.
type deep struct{ actor.Dispatcher }

// stackRoom is what the stack of a part's goroutine has room for from the start.
// Our choice, measured.
const stackRoom = 6 << 10

func newDeep() deep { return deep{actor.NewDefaultDispatcher(300)} }

// Schedule implements actor.Dispatcher.
func (d deep) Schedule(f func()) {
	d.Dispatcher.Schedule(func() {
		deepen(0)
		f()
	})
}

//go:noinline
func deepen(i int) byte {
	var room [stackRoom]byte
	return room[i]
}
