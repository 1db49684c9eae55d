package durable

import (
	"os"
	"testing"
)

// These tests write to a real disk, although scripts/test.sh puts the temporary directory into memory.
func TestMain(m *testing.M) {
	if disk := os.Getenv("MAILCERTD_DISK"); disk != "" {
		os.Setenv("TMPDIR", disk)
	}
	m.Run()
}
