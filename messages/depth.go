package messages

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDepth bounds how deep protobuf messages may nest: a deeper one is
// refused cheaply instead of eating stack.
const maxDepth = 64

// nests reports whether a message can contain itself. Generated fast decoders
// do not bound their recursion, and a stack that overflows ends the process:
// so bodies of such types are measured first.
func nests(root protoreflect.MessageDescriptor) bool {
	const onPath, done = 1, 2
	state := make(map[protoreflect.FullName]int)
	var visit func(protoreflect.MessageDescriptor) bool
	visit = func(md protoreflect.MessageDescriptor) bool {
		switch state[md.FullName()] {
		case onPath:
			return true
		case done:
			return false
		}
		state[md.FullName()] = onPath
		for i := range md.Fields().Len() {
			if sub := md.Fields().Get(i).Message(); sub != nil && visit(sub) {
				return true
			}
		}
		state[md.FullName()] = done
		return false
	}
	return visit(root)
}

// deeper reports whether the encoded message has more than left levels of
// messages within. What is malformed is left to the decoder.
func deeper(md protoreflect.MessageDescriptor, b []byte, left int) bool {
	fields := md.Fields()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if typ != protowire.BytesType && typ != protowire.StartGroupType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return false
			}
			b = b[n:]
			continue
		}
		var v []byte
		if typ == protowire.BytesType {
			v, n = protowire.ConsumeBytes(b)
		} else {
			v, n = protowire.ConsumeGroup(num, b)
		}
		if n < 0 {
			return typ == protowire.StartGroupType // broken, or nested beyond protowire's own bound
		}
		b = b[n:]
		if fd := fields.ByNumber(num); fd != nil && fd.Message() != nil {
			if left == 0 || deeper(fd.Message(), v, left-1) {
				return true
			}
		}
	}
	return false
}
