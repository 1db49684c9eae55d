// Package dane lets a mail host that checks TLSA records watch while keys change. All parts are real: BIND signs the
// zone, NSD is its secondary server, unbound checks the signatures, and Postfix's posttls-finger says what it would do.
package dane

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
