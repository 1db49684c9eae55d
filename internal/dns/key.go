package dns

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	wire "github.com/miekg/dns"

	"mailcertd/internal/durable"
)

// Key is a TSIG key (RFC 8945). The zero Key signs nothing. However a Key is printed, its secret does not appear.
type Key struct {
	Name      string  // fully qualified, lower case
	Algorithm string  // such as hmac-sha256
	secret    *string // base64; a pointer, so that %#v of a struct with a Key prints only an address
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.secret == nil }

func (k Key) String() string {
	if k.IsZero() {
		return "no key"
	}
	return strings.TrimSuffix(k.Name, ".") + " (" + k.Algorithm + ")"
}

// GoString hides the secret from %#v.
func (k Key) GoString() string { return k.String() }

const (
	maxKeyFile = 16 << 10
	// openToOthers are the mode bits that let every user read or change a key.
	openToOthers fs.FileMode = 0o006
)

// ReadKey reads a key file as tsig-keygen(8) writes it. It refuses a file that every user may read or write. Errors
// name the file and the reason, and never its content.
func ReadKey(path string) (Key, error) {
	n := durable.Read(path, maxKeyFile)
	switch {
	case n.Err != nil:
		return Key{}, fmt.Errorf("the TSIG key: %w", n.Err)
	case !n.Exists:
		return Key{}, fmt.Errorf("the TSIG key: %w: make it on the name server with `tsig-keygen NAME`, and copy it "+
			"from there to this file, with mode 0600", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist})
	}
	return ParseKey(path, n.Data, n.Mode)
}

// ParseKey is ReadKey for a file that has been read: path is for messages, mode is the file's.
func ParseKey(path string, data []byte, mode fs.FileMode) (Key, error) {
	if mode&openToOthers != 0 {
		return Key{}, fmt.Errorf("%s: mode %04o lets everybody on this host use the TSIG key: run `chmod 600 %s`",
			path, mode.Perm(), path)
	}
	k, err := parseKey(data)
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// algorithms are those of RFC 8945, section 6, that may still be used, by BIND's names.
var algorithms = map[string]string{
	"hmac-sha1": wire.HmacSHA1, "hmac-sha224": wire.HmacSHA224, "hmac-sha256": wire.HmacSHA256,
	"hmac-sha384": wire.HmacSHA384, "hmac-sha512": wire.HmacSHA512,
}

var errNoKey = errors.New("must contain one TSIG key, as `tsig-keygen NAME` writes it: " +
	"key \"NAME\" { algorithm hmac-sha256; secret \"...\"; };")

// parseKey reads one key statement of named.conf(5).
func parseKey(data []byte) (Key, error) {
	words, line, err := keyWords(string(data))
	if err != nil {
		return Key{}, err
	}
	at := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	wrong := func(i int, why string) (Key, error) {
		return Key{}, fmt.Errorf("line %d: %s", line[min(i, len(line)-1)], why)
	}
	if len(words) == 0 || words[0] != "key" || at(2) != "{" {
		return Key{}, errNoKey
	}
	name := strings.ToLower(wire.Fqdn(at(1)))
	if _, valid := wire.IsDomainName(name); !valid || name == "." {
		return wrong(1, "the name of the key is not a domain name")
	}
	var algorithm, secret string
	i := 3
	for ; at(i) != "}"; i += 3 {
		if i+2 >= len(words) || words[i+2] != ";" {
			return wrong(i, "a key has two statements, algorithm and secret, each of which ends with a semicolon")
		}
		switch words[i] {
		case "algorithm":
			algorithm = strings.TrimSuffix(strings.ToLower(words[i+1]), ".")
			if algorithms[algorithm] == "" {
				return wrong(i, "this algorithm is not supported: make a key with `tsig-keygen -a hmac-sha256 NAME`")
			}
		case "secret":
			secret = words[i+1]
			if raw, err := base64.StdEncoding.DecodeString(secret); err != nil || len(raw) == 0 {
				return wrong(i, "the secret is not base64")
			}
		default:
			return wrong(i, "this statement is neither algorithm nor secret")
		}
	}
	switch {
	case algorithm == "":
		return Key{}, errors.New("the key has no algorithm")
	case secret == "":
		return Key{}, errors.New("the key has no secret")
	case at(i+1) != ";" || len(words) > i+2:
		return Key{}, fmt.Errorf("its last semicolon is missing, or more follows the key: %w", errNoKey)
	}
	return Key{Name: name, Algorithm: algorithm, secret: &secret}, nil
}

// keyWords returns the words of a named.conf(5), and the line of each. It drops comments in the forms of C, C++ and the
// shell.
func keyWords(s string) (words []string, lines []int, err error) {
	line := 1
	for s != "" {
		n := 1
		switch c := s[0]; {
		case strings.IndexByte(" \t\r\n", c) >= 0:
		case c == '#' || strings.HasPrefix(s, "//"):
			n = strings.IndexByte(s+"\n", '\n')
		case strings.HasPrefix(s, "/*"):
			end := strings.Index(s[2:], "*/")
			if end < 0 {
				return nil, nil, fmt.Errorf("line %d: this comment has no end", line)
			}
			n = end + 4
		case strings.IndexByte("{};", c) >= 0:
			words, lines = append(words, s[:1]), append(lines, line)
		case c == '"':
			end := strings.IndexAny(s[1:], "\"\n")
			if end < 0 || s[1+end] == '\n' {
				return nil, nil, fmt.Errorf("line %d: the second quotation mark is missing", line)
			}
			words, lines, n = append(words, s[1:1+end]), append(lines, line), end+2
		default:
			if n = strings.IndexAny(s, " \t\r\n{};\"#"); n < 0 {
				n = len(s)
			}
			words, lines = append(words, s[:n]), append(lines, line)
		}
		line += strings.Count(s[:n], "\n")
		s = s[n:]
	}
	return words, lines, nil
}
