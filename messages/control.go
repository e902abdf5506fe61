package messages

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Bounds of a control message. Two bytes on the wire can become a hundred in
// memory, when they are an empty sub-message: so what a message would take is
// estimated before it is decoded.
const (
	MaxControl       = 64 << 10
	maxControlMemory = 2 << 20
	maxControlDepth  = 32
)

// What the parts of a decoded message take, roughly.
const (
	costMessage = 128 // a sub-message and the pointer to it
	costText    = 24  // the head of a string or of bytes
	costScalar  = 8
)

// DecodeControl decodes a message between runtimes or overlays by its full
// name, which must begin with "maquis.v1.". It bounds size, depth and the
// memory that the message takes.
func DecodeControl(name string, body []byte) (proto.Message, error) {
	const prefix = "maquis.v1."
	if len(name) > MaxTypeName {
		return nil, fmt.Errorf("%w: a name of %d bytes", ErrUnknownType, len(name))
	}
	if len(name) <= len(prefix) || name[:len(prefix)] != prefix {
		return nil, fmt.Errorf("%w: %q is no control message", ErrUnknownType, name)
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownType, name)
	}
	if len(body) > MaxControl {
		return nil, fmt.Errorf("messages: a %s of %d bytes, the limit is %d", name, len(body), MaxControl)
	}
	if takes(mt.Descriptor(), body, maxControlDepth) > maxControlMemory {
		return nil, fmt.Errorf("messages: a %s of %d bytes that would take more than %d in memory", name, len(body), maxControlMemory)
	}
	m := mt.New().Interface()
	if err := (proto.UnmarshalOptions{RecursionLimit: maxControlDepth}).Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("messages: decoding %s: %w", name, err)
	}
	return m, nil
}

// takes estimates the memory of an encoded message, up to where it is
// malformed or beyond the bound.
func takes(md protoreflect.MessageDescriptor, b []byte, depth int) int {
	fields := md.Fields()
	sum := 0
	for len(b) > 0 && sum <= maxControlMemory {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return sum
		}
		field := b[:n]
		b = b[n:]
		fd := fields.ByNumber(num)
		switch {
		case fd == nil:
			sum += n // kept as it is
		case typ != protowire.BytesType:
			sum += costScalar
		case fd.Message() != nil:
			sum += costMessage
			if depth > 0 {
				sum += takes(fd.Message(), payload(field), depth-1)
			}
		case fd.Kind() == protoreflect.StringKind || fd.Kind() == protoreflect.BytesKind:
			sum += costText + n
		default:
			sum += costScalar * n // packed: at least a byte for each
		}
	}
	return sum
}

// payload returns what a whole field of bytes holds.
func payload(field []byte) []byte {
	_, _, n := protowire.ConsumeTag(field)
	v, _ := protowire.ConsumeBytes(field[n:])
	return v
}
