package actors

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/maquis-go/maquis/actors/config"
)

// WithConfigFile has a cluster file read; docs/configuration.md has its keys.
// Its values go over those of the profile, and under those of other options,
// wherever in the list this one stands. Environment variables go over all.
func WithConfigFile(path string) Option {
	return func(o *options) error {
		if path == "" {
			return errors.New("maquis: WithConfigFile: the path is empty")
		}
		o.file = path
		return nil
	}
}

// WithProfile sets defaults for a situation, under all other options.
//
//	dev   loopback, the first free port from 6278 on, nodes of this machine
//	      find each other by themselves, a known secret
//	test  loopback, any free port
//	prod  HyParView; seeds or discovery, and a secret or certificates, are required
func WithProfile(name string) Option {
	return func(o *options) error {
		if !isOneOf(name, config.Profiles) {
			return fmt.Errorf("maquis: profile %q: use dev, test or prod", name)
		}
		o.profile = name
		return nil
	}
}

// Configuration returns what Start would make of options: all values, with where
// each comes from. An error is everything that is wrong; what could be read is
// returned all the same.
func Configuration(opts ...Option) (*config.Config, error) {
	code, err := collect(opts)
	if err != nil {
		return nil, err
	}
	_, c, err := code.configured()
	return c, err
}

// CheckConfiguration reports everything in a configuration that no node of this
// version can be, beyond what package config knows. An error is a
// *config.Error.
func CheckConfiguration(c *config.Config) error {
	var o options
	return o.apply(c)
}

// collect applies the options of code to nothing.
func collect(opts []Option) (options, error) {
	var o options
	var errs []error
	for _, opt := range opts {
		errs = append(errs, opt(&o))
	}
	seen := make(map[string]bool)
	for _, ch := range o.channels {
		if seen[ch.Name] {
			errs = append(errs, fmt.Errorf("maquis: WithChannels names %q twice", ch.Name))
		}
		seen[ch.Name] = true
	}
	return o, errors.Join(errs...)
}

// configured lays the options of code between the cluster file and the
// environment, and fills what is still open.
func (o options) configured() (options, *config.Config, error) {
	c, err := config.Load(config.Sources{File: o.file, Code: config.FromCode(o.layer), Environ: os.Environ()})
	if c != nil {
		err = join(err, o.apply(c))
	}
	if err != nil {
		return options{}, c, err
	}
	err = o.finish()
	for _, n := range o.notes {
		o.logger.Warn("configuration: " + n)
	}
	return o, c, err
}

// join puts the problems of two steps into one error.
func join(a, b error) error {
	var ea, eb *config.Error
	if errors.As(a, &ea) && errors.As(b, &eb) {
		return config.Combine(ea, eb)
	}
	return errors.Join(a, b)
}

func isOneOf(word string, words []string) bool {
	for _, w := range words {
		if w == word {
			return true
		}
	}
	return false
}

// ownIP is the address that is advertised where none is configured.
func (o *options) ownIP() (string, error) {
	if ip := os.Getenv("POD_IP"); net.ParseIP(ip) != nil {
		return ip, nil
	}
	ip, err := outboundIP()
	if err == nil && o.profile == "prod" && net.ParseIP(ip).IsLoopback() {
		err = errors.New("this host has no address but loopback, which profile prod does not advertise")
	}
	return ip, err
}
