package config

import (
	"slices"
	"time"

	"gopkg.in/yaml.v3"
)

// DANE says who publishes the TLSA records of this host (RFC 7672), and under which names.
type DANE struct {
	Publish string
	Names   []string      // the MX names that this host serves; empty: host.name
	Ports   []int         // the TCP ports of the records
	TTL     time.Duration // of the records that mailcertd publishes, or tells a person to
}

// The values of dane.publish.
const (
	PublishNone   = "none"   // nobody: mailcertd only checks the records that others have published
	PublishManual = "manual" // a person, as mailcertd says
	PublishUpdate = "update" // mailcertd, by updates of the zone (RFC 2136)
)

// The limits of dane.
const (
	maxDANENames = 32
	maxPorts     = 16
	maxPort      = 65535
	maxTLSATTL   = 604800 // a week: resolvers keep no record for longer
)

// dane reads the section key.
func (r sections) dane(n *yaml.Node, key string) {
	d := &r.c.DANE
	r.mapping(n, key, []field{
		{"publish", func(n *yaml.Node, key string) {
			r.oneOf(n, key, &d.Publish, PublishNone, PublishManual, PublishUpdate)
		}},
		{"names", func(n *yaml.Node, key string) {
			var all []string
			r.listIn(hostName, "host names", maxDANENames, &all)(n, key)
			for _, name := range all { // one that is there twice counts once
				if !slices.Contains(d.Names, name) {
					d.Names = append(d.Names, name)
				}
			}
		}},
		{"ports", func(n *yaml.Node, key string) { r.ports(n, key, &d.Ports) }},
		{"ttl", func(n *yaml.Node, key string) {
			seconds := int(d.TTL / time.Second)
			if r.number(n, key, 1, maxTLSATTL, "seconds", &seconds) {
				d.TTL = time.Duration(seconds) * time.Second
			}
		}},
	})
}

// ports reads port numbers; a port that is there twice counts once.
func (r *reader) ports(n *yaml.Node, key string, to *[]int) {
	items := r.list(n, key, "ports")
	if n.Kind != yaml.SequenceNode {
		return
	}
	if len(items) == 0 || len(items) > maxPorts {
		r.fail(n, key, "has %d ports: must have 1 to %d", len(items), maxPorts)
		return
	}
	out := []int{}
	for _, x := range items {
		var p int
		if r.number(x, key, 1, maxPort, "ports", &p) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	*to = out
}
