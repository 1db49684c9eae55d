// Package test holds the tests that need real programs: sendmail, openssl, ssh, strace.
package test

import (
	"os"
	"testing"

	"mailcertd/test/bed"
)

func TestMain(m *testing.M) {
	code := m.Run()
	bed.Clean()
	os.Exit(code)
}
