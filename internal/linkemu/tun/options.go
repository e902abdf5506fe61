//go:build linux

package tun

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/maquis-go/maquis/internal/linkemu"
)

// Options of a network. Zero fields mean defaults, but for Way, which needs a
// Buffer.
type Options struct {
	Hosts int         // 2
	Way   linkemu.Way // of each direction between two hosts, until Set
	MTU   int         // bytes of an IP packet; 1500
	// Offload has the kernel hand over up to 64 KiB of a connection at once, as
	// to a network card that cuts them into packets itself: many times cheaper,
	// with congestion control that still counts packets of the MTU. Loss would
	// hit all at once, so it is refused.
	Offload bool
	Seed    uint64            // of jitter and loss
	Sysctl  map[string]string // of every host, as "net.ipv4.tcp_congestion_control": "cubic"
}

// Limits of options.
const (
	MaxHosts = 64
	MinMTU   = 576
	MaxMTU   = 65535
)

func (o Options) withDefaults() Options {
	o.Hosts = cmp.Or(o.Hosts, 2)
	o.MTU = cmp.Or(o.MTU, 1500)
	return o
}

// Validate says everything that is wrong with the options.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("tun: Options."+format, args...))
		}
	}
	need(o.Hosts >= 2 && o.Hosts <= MaxHosts, "Hosts is %d: use 2 to %d", o.Hosts, MaxHosts)
	need(o.MTU >= MinMTU && o.MTU <= MaxMTU, "MTU is %d bytes: use %d to %d", o.MTU, MinMTU, MaxMTU)
	need(!o.Offload || o.Way.Loss == 0, "Offload and Way.Loss: 64 KiB would be lost at once; leave out Offload")
	return errors.Join(append(errs, o.Way.Validate())...)
}

// MissingError is why there is no network: something that this machine or this
// user does not have.
type MissingError struct {
	What string // as "root", "/dev/net/tun"
	Need string // what to do about it
	Err  error  // the system's
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("tun: %s is missing: %s (%v)", e.What, e.Need, e.Err)
}

func (e *MissingError) Unwrap() error { return e.Err }
