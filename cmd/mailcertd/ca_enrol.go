package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/keeper"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

func (a *app) enrolCommand() *cobra.Command {
	var alt, from []string
	var keyFile, target string
	cmd := &cobra.Command{
		Use: "enrol NAME", Args: oneArg("the host's name"),
		Short: "let another host renew automatically over ssh, as a member",
		Long: `Adds the host to the members, which may ask for certificates in their own names.
Prints what to set up: the user that members log in as, the line for its
authorized_keys, and the configuration of the member. Root need not log in
anywhere, and that user cannot read the CA's key.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := pki.CanonicalName(args[0])
			alt, from = separated(alt), separated(from)
			for _, n := range append([]string{name}, alt...) {
				if err := plan.NameError(n); err != nil && (n == name || net.ParseIP(n) == nil) {
					return usageError{fmt.Errorf("%q is not a host name: %w", n, err)}
				}
			}
			if target != "" &&
				(strings.HasPrefix(target, "-") ||
					strings.ContainsFunc(target,
						func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("\"'{}[],#", r) })) {
				return usageError{fmt.Errorf("--target %q: must be USER@HOST, as ssh(1) takes it", target)}
			}
			for _, f := range from {
				if f == "" || strings.ContainsAny(f, "\"\\ \t\r\n") {
					return usageError{
						fmt.Errorf("--from %q: must be addresses or names as authorized_keys takes them", f)}
				}
			}
			line := "ssh-ed25519 AAAA...  # the contents of /root/.ssh/mailcertd.pub there"
			if keyFile != "" {
				var err error
				if line, err = a.publicKey(keyFile); err != nil {
					return err
				}
			}
			o, err := a.localCA(cmd.Context(), toSee)
			if err != nil {
				return err
			}
			own, _ := plan.HostName(o.cfg, o.obs.Host)
			if own == name {
				return usageError{
					fmt.Errorf("%s is this host: it gets its certificate from its own CA, and cannot be a member",
						name)}
			}
			for _, n := range alt {
				if n == own {
					return usageError{fmt.Errorf("--alt %s: this is the name of this host, and not of %s", n, name)}
				}
				if n != name && ca.Find(o.obs.CA.Members, n) != nil {
					return usageError{fmt.Errorf("--alt %s: this is the name of another member", n)}
				}
			}
			command, err := a.forcedCommand(name)
			if err != nil {
				return err
			}
			if err := ca.Members(cmd.Context(), a.disk, o.cfg.CA.Dir, ca.Enrol(name, alt, wallClock())); err != nil {
				return err
			}
			r, err := o.k.Settle(cmd.Context(), plan.Wish{Once: true})
			if err != nil {
				return err
			}
			return a.printEnrolment(r, enrolment{name: name, from: from, key: line, target: target,
				command: command, cfg: o.cfg})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&alt, "alt", nil, "a further `name` or address that its certificates may have; may be repeated")
	f.StringArrayVar(&from, "from", nil, "the `address` that it logs in from; may be repeated (default: looked up)")
	f.StringVar(&keyFile, "key", "",
		"`file` with its public ssh key, - for standard input; without it the printed line has a placeholder")
	f.StringVar(&target, "target", "",
		"how it reaches this host, as `user@host` (default: ca.account and this host's name)")
	return cmd
}

// enrolment is the data for the instructions that `ca enrol` prints.
type enrolment struct {
	name    string
	from    []string
	key     string // the public ssh key, or a placeholder
	target  string
	command string // the command that sshd runs here
	cfg     config.Config
}

// printEnrolment prints the lines for the two hosts, ready to be copied.
func (c *console) printEnrolment(r keeper.Result, e enrolment) error {
	own, _ := plan.HostName(e.cfg, r.Observed.Host)
	account := e.cfg.CA.Account
	from := e.from
	if len(from) == 0 {
		from, _ = net.LookupHost(e.name)
		sort.Strings(from)
	}
	note := ""
	if len(from) == 0 {
		from, note = []string{"ADDRESS"}, "# ADDRESS is the address that the member logs in from: "+e.name+
			" could not be looked up (--from)\n"
	}
	if e.target == "" {
		e.target = account + "@" + own
	}
	w := c.out
	fmt.Fprintf(w, "%s is enrolled.\n\n", e.name)
	fmt.Fprintf(w, "# 1. on this host, once: create the user that members log in as\n")
	fmt.Fprintf(w, "pw useradd %s -c \"mailcertd requests\" -d /var/spool/%s-home -m -s /bin/sh -h -\n",
		account, account)
	fmt.Fprintf(w, "install -d -o %s -m 0700 /var/spool/%s-home/.ssh\n\n", account, account)
	fmt.Fprintf(w, "# 2. on %s, once: create its ssh key\n", e.name)
	fmt.Fprintf(w, "ssh-keygen -t ed25519 -N '' -f /root/.ssh/mailcertd\n\n")
	fmt.Fprintf(w, "# 3. on this host: add this line to /var/spool/%s-home/.ssh/authorized_keys\n%s", account, note)
	fmt.Fprintf(w, "restrict,from=\"%s\",command=\"%s\" %s\n\n", strings.Join(from, ","), e.command, e.key)
	fmt.Fprintf(w, "# 4. on %s: add these lines to /root/.ssh/known_hosts\n", e.name)
	host := e.target[strings.LastIndexByte(e.target, '@')+1:]
	lines := hostKeys(sshDir, host)
	if len(lines) == 0 {
		lines = []string{"# (no host keys were found here: run ssh-keyscan " + host + ", and compare the keys)"}
	}
	fmt.Fprintf(w, "%s\n\n", strings.Join(lines, "\n"))
	fmt.Fprintf(w, "# 5. on %s: put this into /usr/local/etc/mailcertd.yaml, then run `service mailcertd reload`\n",
		e.name)
	fmt.Fprintf(w,
		"issuer:\n  ssh:\n    target: %s\n    identity: /root/.ssh/mailcertd\n    known_hosts: "+
			"/root/.ssh/known_hosts\n", e.target)
	c.printProblems(c.err, r.Plan)
	return nil
}

// forcedCommand returns the command that sshd runs for a member. sshd starts it in the user's home directory, so its
// paths are absolute. A path with characters that the shell or authorized_keys would interpret is an error.
func (g *globalFlags) forcedCommand(name string) (string, error) {
	words := []string{executable()}
	if g.configPath != "" {
		path, err := absPath(g.configPath)
		if err != nil {
			return "", err
		}
		words = append(words, "--config", path)
	}
	if g.root != "" {
		root, err := absPath(g.root)
		if err != nil {
			return "", err
		}
		words = append(words, "--root", root)
	}
	for _, w := range words {
		if strings.ContainsFunc(w, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') &&
				!strings.ContainsRune("/._+-@%,:=", r)
		}) {
			return "",
				usageError{
					fmt.Errorf(
						"%q: this path cannot be part of a command in authorized_keys: use only letters, digits and "+
							"._+-/", w)}
		}
	}
	return strings.Join(append(words, "sign", "--submit", name), " "), nil
}

// sshDir is the directory of sshd's host keys, see sshd_config(5).
const sshDir = "/etc/ssh"

// hostKeys returns this host's public ssh keys as lines of known_hosts, and a comment for each that cannot be read.
func hostKeys(dir, host string) []string {
	names, err := durable.Names(dir, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []string{fmt.Sprintf("# (no host keys: %v)", err)}
	}
	var out []string
	for _, name := range names {
		if ok, _ := filepath.Match("ssh_host_*_key.pub", name); !ok {
			continue
		}
		n := durable.Read(filepath.Join(dir, name), 16<<10)
		if n.Err != nil {
			out = append(out, fmt.Sprintf("# (a host key is left out: %v)", n.Err))
		} else if line := knownHost(host, n.Data); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// knownHost returns the line of known_hosts for a public ssh key. It returns "" if the file contains no key, or a DSA
// key, which current versions of ssh do not accept.
func knownHost(host string, pub []byte) string {
	w := strings.Fields(string(pub))
	if len(w) < 2 || w[0] == "ssh-dss" {
		return ""
	}
	return host + " " + w[0] + " " + w[1]
}

// publicKey reads the line of an OpenSSH public key file.
func (c *console) publicKey(path string) (string, error) {
	data, err := c.input(path, 16<<10)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	text := strings.TrimSpace(string(data))
	f := strings.Fields(text)
	if strings.ContainsAny(text, "\r\n\"") || len(f) < 2 || !strings.HasPrefix(f[1], "AAAA") ||
		!strings.HasPrefix(f[0], "ssh-") && !strings.HasPrefix(f[0], "ecdsa-") && !strings.HasPrefix(f[0], "sk-") {
		return "", fmt.Errorf("%s: contains no public ssh key: it must be the line of a .pub file", path)
	}
	return text, nil
}

func executable() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return "/usr/local/sbin/mailcertd"
}
