package dns

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const secret = "Zm9ydHktdHdvIGlzIG5vIHNlY3JldCBhdCBhbGw="

// Key files as people have them, and the errors for other files. No error contains a part of the secret.
func TestParseKey(t *testing.T) {
	whole := "key \"mail.key\" {\n\talgorithm hmac-sha256;\n\tsecret \"" + secret + "\";\n};\n"
	for what, c := range map[string]struct{ text, says string }{
		"as tsig-keygen writes it": {whole, ""},
		"on one line":              {strings.ReplaceAll(whole, "\n", " "), ""},
		"without quotation marks":  {strings.ReplaceAll(whole, `"`, ""), ""},
		"capitals": {strings.NewReplacer("mail.key", "MAIL.Key.", "hmac-sha256",
			"HMAC-SHA256").Replace(whole), ""},
		"the other order": {"key mail.key { secret \"" + secret + "\"; algorithm hmac-sha256; };", ""},
		"comments": {"# of ns1\n// of ns1\n/* of\nns1 */ " + strings.Replace(whole, ";",
			"; # 256 bits", 1), ""},
		"CRLF": {strings.ReplaceAll(whole, "\n", "\r\n"), ""},

		"empty":             {"", "must contain one TSIG key, as `tsig-keygen NAME` writes it"},
		"a secret alone":    {secret, "must contain one TSIG key"},
		"another statement": {"options { };", "must contain one TSIG key"},
		"two keys":          {whole + whole, "its last semicolon is missing, or more follows the key"},
		"no end":            {strings.TrimSuffix(whole, "};\n"), "line 3: a key has two statements"},
		"no last semicolon": {
			strings.TrimSuffix(whole, ";\n"), "its last semicolon is missing, or more follows the key"},
		"no semicolon": {strings.Replace(whole, "sha256;", "sha256", 1), "line 2: a key has two statements"},
		"MD5": {strings.Replace(whole, "sha256", "md5", 1),
			"line 2: this algorithm is not supported"},
		"no algorithm":    {strings.Replace(whole, "algorithm hmac-sha256;", "", 1), "the key has no algorithm"},
		"no secret":       {strings.Replace(whole, "secret \""+secret+"\";", "", 1), "the key has no secret"},
		"not base64":      {strings.Replace(whole, secret, secret[:9]+"!", 1), "line 3: the secret is not base64"},
		"an empty secret": {strings.Replace(whole, secret, "", 1), "line 3: the secret is not base64"},
		"a word too much": {strings.Replace(whole, secret+`"`, secret+`" `+secret, 1),
			"line 3: a key has two statements"},
		"another word":      {strings.Replace(whole, "algorithm", secret, 1), "line 2: this statement is neither"},
		"an open quotation": {strings.Replace(whole, secret+`"`, secret, 1), "line 3: the second quotation mark is missing"},
		"an open comment":   {"/* " + whole, "line 1: this comment has no end"},
		"no name": {strings.Replace(whole, "mail.key", "", 1),
			"line 1: the name of the key is not a domain name"},
		"a name too long": {strings.Replace(whole, "mail.key", strings.Repeat("x", 64), 1),
			"line 1: the name of the key"},
		"K*.private of BIND": {"Private-key-format: v1.3\nAlgorithm: 163 (HMAC_SHA256)\nKey: " + secret + "\n",
			"must contain one TSIG key"},
	} {
		t.Run(what, func(t *testing.T) {
			k, err := ParseKey("/etc/mail/tsig.key", []byte(c.text), 0o640)
			if c.says == "" {
				if err != nil || k.Name != "mail.key." || k.Algorithm != "hmac-sha256" || *k.secret != secret ||
					k.IsZero() {
					t.Errorf("%v, %v", k, err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), "/etc/mail/tsig.key: "+c.says) || !k.IsZero() ||
				strings.Contains(err.Error(), secret[:8]) {
				t.Errorf("%v, %v", k, err)
			}
		})
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("key \"a\" { algorithm hmac-sha512; secret \"" + secret + "\"; };"))
	f.Add([]byte("key a { } # \"\n;"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := parseKey(data)
		if (err == nil) == k.IsZero() {
			t.Errorf("%v, %v", k, err)
		}
	})
}

// A key file that every user may read, or that is missing or of another kind, is refused with its name and with what to
// do.
func TestReadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tsig.key")
	if _, err := ReadKey(path); err == nil || !strings.Contains(err.Error(), "copy it from there") ||
		!strings.Contains(err.Error(), path+": no such file") &&
			!strings.Contains(err.Error(), path+": file does not exist") {
		t.Error(err)
	}
	if _, err := ReadKey(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), filepath.Dir(path)) {
		t.Error(err)
	}
	text := "key \"a\" { algorithm hmac-sha512; secret \"" + secret + "\"; };"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, may := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o644: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := ReadKey(path)
		if may != (err == nil) || err != nil && !strings.Contains(err.Error(),
			fmt.Sprintf("%s: mode %04o lets everybody on this host use the TSIG key: run `chmod 600 %s`", path, mode,
				path)) {
			t.Errorf("%04o: %v", mode, err)
		}
	}
}

// However a key is printed, alone or within something, its secret does not appear.
func TestKeyStaysSecret(t *testing.T) {
	k, err := parseKey([]byte("key \"a\" { algorithm hmac-sha512; secret \"" + secret + "\"; };"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{Key: k})
	if err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(map[string]any{"key": k, "options": Options{Key: k}.Key, "client": c})
	if err != nil {
		t.Fatal(err)
	}
	printed := []string{string(j)}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{k, c, *c, Options{Key: k}} {
			printed = append(printed, fmt.Sprintf(format, v))
		}
	}
	all := strings.Join(printed, "\n")
	if strings.Contains(all, secret[:8]) || strings.Contains(all, fmt.Sprintf("%x", secret[:8])) {
		t.Error(all)
	}
	if k.String() != "a (hmac-sha512)" || (Key{}).String() != "no key" {
		t.Error(k)
	}
}
