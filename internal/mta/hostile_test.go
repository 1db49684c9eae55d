package mta

import (
	"errors"
	"strings"
	"testing"

	"mailcertd/internal/command"
)

// Any content of a file and any answer of another program, even an empty one, is parsed without a panic.
func TestParsersTakeAnything(t *testing.T) {
	for _, in := range []string{"", "\n", " ", "\t\n\n", "\x00", "#", "\\", "\\\n", "=", "O", "O ", "O =", "O =x", "D",
		"D{", "D{x", "${", "${x", "$", "$&",
		"O ServerCertFile", "O DaemonPortOptions=", "O DaemonPortOptions=,,=,", "-", "--", "-O", "-C", "'", "\"",
		"\"\\", "sendmail", "sendmail ", "sendmail\t\\",
		"1", "-1", "1\n", "99999999999999999999\n", "1\n\n", "1\n-", "+", "/CN", "/CN=", "0", "0.", "\x30", "\x30\x80",
		"\x30\x03\x31\x01\x30", "error:", "error::::",
		"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", strings.Repeat("${a", 200),
		strings.Repeat("x\\\n", 200), "\xff\xfe", "é"} {
		cf := ParseCF([]byte(in), "-O"+in, "-C", in)
		cf.Endpoints()
		cf.tlsFiles()
		_, _ = mailer([]byte(in), "sendmail")
		_, _, _ = parsePidFile([]byte(in))
		rc := ReadRC(map[string]string{"sendmail_flags": in, "sendmail_enable": in, "sendmail_program": in,
			"sendmail_pidfile": in})
		rc.Argv()
		argv := append([]string{in}, shellWords(in)...)
		ConfigFile(argv)
		SameOptions(argv, []string{in})
		listens(argv)
		foreground(argv)
		words(argv)
		words(nil)
		AccessKey(in)
		exactName([]byte(in))
		opensslReason(in)
		firstLine(in)
		macros{}.expand(in)
		ses := &session{}
		_ = ses.read(command.Said{Out: []byte("New, TLSv1.3, Cipher is X\n" + in), Err: []byte(in)}, errors.New("x"))
		_ = ses.read(command.Said{Out: []byte(in), Err: []byte(in)}, nil)
	}
}
