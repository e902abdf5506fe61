package messages

import (
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// controlNames are all messages between runtimes and overlays.
func controlNames() (names []string) {
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		if name := string(mt.Descriptor().FullName()); strings.HasPrefix(name, "maquis.v1.") {
			names = append(names, name)
		}
		return true
	})
	return names
}

// FuzzControl decodes every control message from arbitrary bytes: what is
// taken has bounded memory, can be described, and is read again as it was
// written.
func FuzzControl(f *testing.F) {
	names := controlNames()
	for i := range names {
		f.Add(uint16(i), []byte{0x0a, 3, 'a', 'b', 'c', 0x12, 2, 0x0a, 0})
	}
	f.Fuzz(func(t *testing.T, i uint16, body []byte) {
		name := names[int(i)%len(names)]
		var before, after runtime.MemStats
		if len(body) > 8<<10 { // reading the statistics stops the world
			runtime.ReadMemStats(&before)
		}
		m, err := DecodeControl(name, body)
		if len(body) > 8<<10 {
			runtime.ReadMemStats(&after)
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 4*maxControlMemory {
				t.Fatalf("%s of %d bytes took %d bytes", name, len(body), taken)
			}
		}
		if err != nil {
			return
		}
		if Describe(m) == "" {
			t.Fatalf("%s has no description", name)
		}
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatalf("%s cannot be written again: %v", name, err)
		}
		if len(b) > MaxControl {
			return
		}
		again, err := DecodeControl(name, b)
		if err != nil || !proto.Equal(m, again) {
			t.Fatalf("%s is read back as something else: %v", name, err)
		}
	})
}
