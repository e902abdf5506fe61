package protoactor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/asynkron/protoactor-go/cluster"

	maquis "github.com/maquis-go/maquis/actors"
)

// tagKey is the tag by which a node says that it is a member of a protoactor
// cluster.
const tagKey = "maquis.protoactor"

// tag is what a member says of itself.
type tag struct {
	Cluster    string   `json:"c"`
	ID         string   `json:"i"` // of the actor system: protoactor's gossip uses it
	Generation uint64   `json:"g"` // in which the node had that id
	Kinds      []string `json:"k"`
}

func newTag(c *cluster.Cluster, generation uint64) tag {
	return tag{c.Config.Name, c.ActorSystem.ID, generation, slices.Sorted(slices.Values(c.GetClusterKinds()))}
}

func (t tag) String() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings and a number
	}
	return string(b)
}

// member is the node as protoactor sees it. Host and port put together are its
// PIDs' address again.
func (t tag) member(m maquis.Member) *cluster.Member {
	address := m.Address()
	i := strings.LastIndexByte(address, ':')
	port, _ := strconv.Atoi(address[i+1:])
	id := t.ID
	if m.Generation != t.Generation {
		// protoactor blocks the id of whoever was down once, for ever.
		id = fmt.Sprintf("%s~%d", t.ID, m.Generation)
	}
	return &cluster.Member{Id: id, Host: address[:i], Port: int32(port), Kinds: t.Kinds}
}

// decoder reads tags and remembers what it has read.
type decoder struct {
	mu   sync.Mutex
	read map[string]tag
}

// maxRead bounds what a decoder remembers.
const maxRead = 1 << 14

// decode reports false for a tag that is missing or malformed.
func (d *decoder) decode(s string) (tag, bool) {
	if s == "" {
		return tag{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if t, ok := d.read[s]; ok {
		return t, t.ID != ""
	}
	var t tag
	if err := json.Unmarshal([]byte(s), &t); err != nil || t.Cluster == "" {
		t = tag{}
	}
	if d.read == nil || len(d.read) >= maxRead {
		d.read = make(map[string]tag)
	}
	d.read[s] = t
	return t, t.ID != ""
}
