package messages

import (
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/runtime/protoimpl"
)

// Bounds of the slabs that a Decoder cuts messages from. An application that
// keeps one message keeps its slab: so slabs are small, and large messages
// have memory of their own.
const (
	slabMessages = 64
	slabBytes    = 4 << 10
	slabLargest  = 512 // the largest message or body that is cut from a slab
)

// unsafeMessage is implemented by messages of which vtprotobuf generated the
// decoder that refers to its input instead of copying from it.
type unsafeMessage interface {
	UnmarshalVTUnsafe([]byte) error
}

// Decoder decodes messages of one type for one reader. Of messages that have
// arrived together it allocates many at once. It is not safe for concurrent
// use; the messages that it makes are as independent as any, except that the
// memory of a slab is freed when its last message is.
type Decoder struct {
	t     *Type
	slice reflect.Type // of the message's struct; nil: no slabs
	slab  reflect.Value
	used  int
	size  int    // of the struct
	chunk []byte // bodies that messages refer to
	alias bool   // the type has UnmarshalVTUnsafe
}

// NewDecoder makes a decoder of a type.
func NewDecoder(t *Type) *Decoder {
	d := &Decoder{t: t}
	if t.proto == nil {
		return d
	}
	zero := t.proto.Zero().Interface()
	if t.vt {
		_, d.alias = zero.(unsafeMessage)
	}
	if _, generated := t.proto.(*protoimpl.MessageInfo); generated {
		if elem := reflect.TypeOf(zero).Elem(); elem.Size() <= slabLargest {
			d.slice, d.size = reflect.SliceOf(elem), int(elem.Size())
		}
	}
	return d
}

// Decode makes a message from its encoding, as Type.Decode. ahead is how many
// bytes of further messages, of this type or another, have arrived behind it.
func (d *Decoder) Decode(body []byte, ahead int) (any, error) {
	if d.slice == nil && !d.alias {
		return d.t.Decode(body)
	}
	m := d.fresh(len(body), ahead)
	if !d.t.vt {
		if err := decodeFresh.Unmarshal(body, m); err != nil {
			return nil, fmt.Errorf("messages: decoding %s: %w", d.t.Name, err)
		}
		return m, nil
	}
	if d.t.deep && deeper(d.t.proto.Descriptor(), body, maxDepth) {
		return nil, fmt.Errorf("messages: decoding %s: nested more than %d deep", d.t.Name, maxDepth)
	}
	var err error
	if d.alias && len(body) <= slabLargest {
		err = m.(unsafeMessage).UnmarshalVTUnsafe(d.keep(body, ahead))
	} else {
		err = m.(vtMessage).UnmarshalVT(body)
	}
	if err != nil {
		return nil, fmt.Errorf("messages: decoding %s: %w", d.t.Name, err)
	}
	return m, nil
}

// fresh returns an empty message.
func (d *Decoder) fresh(size, ahead int) proto.Message {
	if d.slice == nil {
		return d.t.proto.New().Interface()
	}
	if !d.slab.IsValid() || d.used == d.slab.Len() {
		n := min(1+ahead/(size+32), slabMessages, slabBytes/d.size+1)
		d.slab, d.used = reflect.MakeSlice(d.slice, n, n), 0
	}
	m := d.slab.Index(d.used).Addr().Interface().(proto.Message)
	if d.used++; d.used == d.slab.Len() {
		d.slab, d.used = reflect.Value{}, 0
	}
	return m
}

// keep returns a copy of body that stays.
func (d *Decoder) keep(body []byte, ahead int) []byte {
	if len(body) > cap(d.chunk)-len(d.chunk) {
		d.chunk = make([]byte, 0, max(len(body), min(len(body)+ahead, slabBytes)))
	}
	n := len(d.chunk)
	d.chunk = append(d.chunk, body...)
	return d.chunk[n:len(d.chunk):len(d.chunk)]
}
