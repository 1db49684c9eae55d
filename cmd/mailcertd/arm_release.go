//go:build !crashpoints

package main

import "mailcertd/internal/durable"

// arm does nothing here: only a binary built for crash tests kills itself.
func arm(*durable.Disk) {}
