package actors

import (
	"maps"

	"google.golang.org/protobuf/proto"
)

// AllowEvents lets other nodes publish messages of some protobuf types on this
// system's event stream, by sending them to the actor "eventstream" of this
// node. What else is sent there is refused. protoactor's cluster sends some
// messages that way.
func (d *Distribution) AllowEvents(types ...string) {
	for {
		before := d.events.Load()
		after := make(map[string]bool)
		if before != nil {
			maps.Copy(after, *before)
		}
		for _, t := range types {
			after[t] = true
		}
		if d.events.CompareAndSwap(before, &after) {
			return
		}
	}
}

func (d *Distribution) allowsEvent(msg any) bool {
	allowed := d.events.Load()
	m, ok := msg.(proto.Message)
	return ok && allowed != nil && (*allowed)[string(m.ProtoReflect().Descriptor().FullName())]
}
