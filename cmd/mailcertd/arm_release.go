//go:build !crashpoints

package main

import "mailcertd/internal/durable"

// arm does nothing: only a binary built for crash tests kills itself.
func arm(*durable.Disk) {}
