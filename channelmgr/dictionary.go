package channelmgr

import (
	"strings"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

// dictionary interns the strings that every frame would repeat: types, target
// ids, sender ids, channel names. It belongs to a pipe, not to a link, so that
// frames that wait in a queue stay valid when another link takes over: replay
// defines everything anew there.
type dictionary struct {
	limit   int
	types   map[*messages.Type]uint32
	strings [5]map[string]uint32
	texts   [5][]string    // all that is defined, by table, in the order of ids
	last    *messages.Type // the type asked for last, and its id
	lastID  uint32
	recent  *[64]recentRef // targets asked for of late, by their hash
}

type recentRef struct {
	text string
	id   uint32
}

// typeRef returns the reference to a type, defining it first if need be; zero
// means that the table is full and the name must be written out.
func (d *dictionary) typeRef(t *messages.Type, defs []byte) (uint32, []byte) {
	if t == d.last {
		return d.lastID, defs
	}
	if id, ok := d.types[t]; ok {
		d.last, d.lastID = t, id
		return id, defs
	}
	if d.types == nil {
		d.types = make(map[*messages.Type]uint32)
	}
	if len(d.types) >= d.limit {
		return 0, defs
	}
	id := uint32(len(d.types) + 1)
	d.types[t] = id
	return id, d.define(defs, frame.TableType, id, t.Name)
}

// target returns the reference to a target's id of a hash.
func (d *dictionary) target(hash uint64, text string, defs []byte) (uint32, []byte) {
	if d.recent == nil {
		d.recent = new([64]recentRef)
	}
	e := &d.recent[hash>>8%64]
	if e.id != 0 && e.text == text {
		return e.id, defs
	}
	id, defs := d.ref(frame.TableTarget, text, defs)
	if id != 0 {
		*e = recentRef{text, id}
	}
	return id, defs
}

// ref returns the reference to a string of a table.
func (d *dictionary) ref(table uint8, text string, defs []byte) (uint32, []byte) {
	m := d.strings[table]
	if id, ok := m[text]; ok {
		return id, defs
	}
	if m == nil {
		m = make(map[string]uint32)
		d.strings[table] = m
	}
	if len(m) >= d.limit {
		return 0, defs
	}
	id := uint32(len(m) + 1)
	text = strings.Clone(text)
	m[text] = id
	return id, d.define(defs, table, id, text)
}

// channel returns the id of a channel on this pipe. Ids 0 and 1 are control
// and data.
func (d *dictionary) channel(name string, defs []byte) (uint8, []byte, bool) {
	switch name {
	case ControlChannel:
		return 0, defs, true
	case DataChannel:
		return 1, defs, true
	}
	m := d.strings[frame.TableChannel]
	if id, ok := m[name]; ok {
		return uint8(id), defs, true
	}
	if m == nil {
		m = make(map[string]uint32)
		d.strings[frame.TableChannel] = m
	}
	if len(m) >= maxWireChannels {
		return 0, defs, false
	}
	id := uint32(len(m) + 2)
	m[name] = id
	return uint8(id), d.define(defs, frame.TableChannel, id, name), true
}

func (d *dictionary) define(defs []byte, table uint8, id uint32, text string) []byte {
	d.texts[table] = append(d.texts[table], text)
	return frame.AppendDefine(defs, table, id, text)
}

// firstID is the id of a table's first definition.
func firstID(table int) int {
	if table == int(frame.TableChannel) {
		return 2
	}
	return 1
}

// replay writes every definition again, for a new link.
func (d *dictionary) replay(dst []byte) []byte {
	for table, texts := range d.texts {
		for i, text := range texts {
			dst = frame.AppendDefine(dst, uint8(table), uint32(firstID(table)+i), text)
		}
	}
	return dst
}

// text returns what an id of a table stands for; "" if nothing.
func (d *dictionary) text(table uint8, id uint32) string {
	if i := int(id) - firstID(int(table)); i >= 0 && i < len(d.texts[table]) {
		return d.texts[table][i]
	}
	return ""
}
