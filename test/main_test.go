// Package test holds what needs real parts: sendmail, openssl, strace.
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
