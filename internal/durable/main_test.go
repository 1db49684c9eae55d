package durable

import (
	"os"
	"testing"
)

// TestMain has these tests write to a real disk, where scripts/test.sh has put the temporary directory into memory.
func TestMain(m *testing.M) {
	if disk := os.Getenv("MAILCERTD_DISK"); disk != "" {
		os.Setenv("TMPDIR", disk)
	}
	m.Run()
}
