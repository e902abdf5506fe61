package actors

import (
	"context"
	"fmt"
	"slices"

	"github.com/maquis-go/maquis/actors/config"
)

// Config returns the configuration that runs, with where each value comes from:
// that of Start, with what Reload has changed since. It must not be changed.
func (d *Distribution) Config() *config.Config {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	return d.config
}

// Reload reads profile, file, environment and secrets again and changes the
// running node by what differs: tags, secrets for links to come, channels and their
// rules, on this node only and under what SetChannel has said, most limits, expected
// members, and seeds, of which new ones are called and those that are gone are not
// called any more. It returns the keys whose change takes a
// restart. It is all or nothing: with an error, which lists everything that is wrong, all is as it was. Only
// what differs in the configuration is changed: tags that SetTags has set stay
// until the configured ones change. ctx ends it before anything was changed.
func (d *Distribution) Reload(ctx context.Context) (needRestart []string, err error) {
	if d.stopped.Load() {
		return nil, ErrStopped
	}
	d.reloading.Lock()
	defer d.reloading.Unlock()
	o, next, err := d.code.configured()
	if err != nil {
		return nil, fmt.Errorf("maquis: reload: nothing was changed:\n%w", err)
	}
	r := reload{d: d, next: next, opts: o}
	paths, live := config.Diff(d.config, next)
	if !slices.Contains(paths, "channel_rules") { // ConfigureRouting may have set others
		r.opts.rules = d.registry.Rules()
	}
	for i, path := range paths {
		if live[i] && r.prepare(path) {
			continue
		}
		needRestart = append(needRestart, path)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := r.commit(); err != nil {
		return nil, fmt.Errorf("maquis: reload: nothing was changed: %w", err)
	}
	d.config = config.Adopt(d.config, next, r.adopted)
	return needRestart, nil
}

// reload is one Reload under way.
type reload struct {
	d       *Distribution
	next    *config.Config
	opts    options  // that next stands for
	adopted []string // paths whose new value runs when it is committed

	secrets, channels, limits, tags, expected bool
	seeds, unseeded                           []string // that are new, and that are gone
}

// prepare plans the change of a live key. It reports whether no restart is
// needed for it.
func (r *reload) prepare(path string) bool {
	old := r.d.config
	switch path {
	case "node.tags":
		r.tags = true
	case "channel_rules", "channels", "channel_preset": // tried together: one may need the other
		if fromCode(old, path) || fromCode(r.next, path) || r.d.registry.Configure(r.opts.channels, r.opts.rules, true) != nil {
			return false
		}
		r.channels = true
	case "limits.max_message", "limits.max_links_per_peer", "limits.max_connections", "limits.control_backlog", "limits.max_assembly", "limits.reserved_queue_len":
		r.limits = true
	case "join.expected_members":
		r.expected = true
	case "security.secrets":
		if old.Security.Mode != r.next.Security.Mode {
			return false
		}
		r.secrets = true
	case "join.seeds":
		r.seeds, r.unseeded = without(r.next.Join.Seeds, old.Join.Seeds), without(old.Join.Seeds, r.next.Join.Seeds)
	default:
		return false
	}
	r.adopted = append(r.adopted, path)
	return true
}

// without returns what is in list and not in other.
func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}

// commit makes the changes, those that can fail first; if one fails, those
// before it are undone.
func (r *reload) commit() error {
	d, old, rules := r.d, r.d.config, r.d.registry.Rules()
	steps := []struct {
		on       bool
		do, undo func() error
	}{
		{r.secrets, func() error { return d.security.SetSecrets(securityOf(r.next.Security).Secrets) }, func() error { return d.security.SetSecrets(securityOf(old.Security).Secrets) }},
		{r.channels, func() error { return d.registry.Configure(r.opts.channels, r.opts.rules, false) }, func() error { return d.registry.Configure(d.opts.channels, rules, false) }},
		{r.tags, func() error { return d.SetTags(r.next.Node.Tags) }, nil},
	}
	for i, s := range steps {
		if !s.on {
			continue
		}
		if err := s.do(); err != nil {
			for _, before := range steps[:i] {
				if before.on {
					_ = before.undo() // it was good before
				}
			}
			return err
		}
	}
	if r.channels {
		d.opts.channels = r.opts.channels
		d.pump(d.digestChannels)
	}
	if r.limits {
		d.registry.SetLimits(r.opts.limits)
	}
	if r.expected {
		d.expected.Store(int64(r.next.Join.ExpectedMembers))
	}
	d.service.Forget(r.unseeded)
	d.service.Call(r.seeds)
	return nil
}
