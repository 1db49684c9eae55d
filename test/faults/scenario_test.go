package faults

// scenario is a start and a command that meets a fault. All shell text is run by sh -e in the root, where $m is
// mailcertd and $top is the project.
type scenario struct {
	name   string
	conf   string // lines of mailcertd.yaml, after those that every scenario has
	before string // shell text that makes the start
	verb   string // the command; $root in it is the root
	under  string // the --root of the command, relative to the root
	// right is shell text that succeeds if the command did its work. It runs after exit status 0. $was is the serial of
	// host.cert at the start, $waskey is the digest of the key, and the file out has what the command printed.
	right string
	keeps []string // files of a person: their content must survive, in place or in a copy
	then  string   // what a person does after the fault, before ensure
	again bool     // the same command must succeed after the ensure
	// gap means that key and certificate both change: between the two renames they do not belong together.
	gap bool
	// chore means that the command does a chore: a failed chore is a warning, and the exit status is 0.
	chore bool
	// stuck means that the command exits with 1 even without a fault, because something prevents its work.
	stuck bool
	// broken means that sendmail could not serve the set of the start.
	broken bool
}

// Pieces of shell text.
const (
	newSerial = `[ "$(openssl x509 -noout -serial -in etc/mail/certs/host.cert)" != "$was" ]; `
	newKey    = `[ "$(openssl pkey -pubout -in etc/mail/certs/host.key | sha256sum)" != "$waskey" ]; `
	pairs     = `[ "$(openssl x509 -noout -pubkey -in etc/mail/certs/host.cert)" = "$(openssl pkey -pubout -in etc/mail/certs/host.key)" ]; `

	// buy makes a certificate of another CA, in bought/.
	buy = `mkdir -p bought; ( cd bought
openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 900 -subj /CN=Seller -keyout ../seller.key -out cacert.pem
openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=mail.example.test -keyout host.key -out ../csr
printf 'subjectAltName=DNS:mail.example.test\nextendedKeyUsage=serverAuth\n' >../ext
openssl x509 -req -in ../csr -CA cacert.pem -CAkey ../seller.key -set_serial 77 -days 300 -extfile ../ext -out host.cert
cat host.key host.cert cacert.pem >parcel.pem; chmod 600 host.key parcel.pem ) 2>/dev/null; rm -f seller.key csr ext; `
	carryIn = `mkdir -p -m 755 etc/mail/certs; cp -p bought/host.key bought/host.cert bought/cacert.pem etc/mail/certs; `
	owned   = `cmp bought/host.key etc/mail/certs/host.key; cmp bought/host.cert etc/mail/certs/host.cert; cmp bought/cacert.pem etc/mail/certs/cacert.pem; `

	// aged replaces the first certificate by an old one.
	aged = `( cd etc/mail/CA; n=$(openssl x509 -noout -serial -in ../certs/host.cert)
openssl req -new -key ../certs/host.key -subj /CN=mail.example.test -addext subjectAltName=DNS:mail.example.test -out csr
openssl ca -config openssl.cnf -batch -notext -startdate $(date -u -d '-330 days' +%y%m%d%H%M%SZ) -enddate $(date -u -d '35 days' +%y%m%d%H%M%SZ) -in csr -out aged
openssl ca -config openssl.cnf -revoke newcerts/${n#serial=}.pem; cat aged >../certs/host.cert; rm csr aged ) 2>/dev/null; `

	// byHand makes a CA as people do, with a certificate for this host and one for another.
	byHand = `mkdir -p -m 700 etc/mail/CA/newcerts; mkdir -p etc/mail/certs; ( cd etc/mail/CA; umask 077
printf '[ca]\ndefault_ca=d\n[d]\ndir=.\ndatabase=$dir/index.txt\nnew_certs_dir=$dir/newcerts\ncertificate=$dir/cacert.pem\n' >openssl.cnf
printf 'serial=$dir/serial\nprivate_key=$dir/cakey.pem\ndefault_days=365\ndefault_crl_days=30\ndefault_md=sha256\npolicy=any\n' >>openssl.cnf
printf 'copy_extensions=copy\n[any]\ncommonName=supplied\n[req]\ndistinguished_name=dn\n[dn]\n' >>openssl.cnf
: >index.txt; echo 01 >serial
openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 3650 -subj /CN=Hand -keyout cakey.pem -out cacert.pem
for n in mail dhcp; do
	openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=$n.example.test -addext subjectAltName=DNS:$n.example.test -keyout $n.key -out csr
	openssl ca -batch -config openssl.cnf -notext -in csr -out $n.cert
done; rm csr
install -m 600 mail.key ../certs/host.key; install -m 644 mail.cert ../certs/host.cert; install -m 644 cacert.pem ../certs/cacert.pem ) >/dev/null 2>&1; `

	// member makes a CA host in ca/ that has this host as a member, and an ssh that runs the commands there.
	member = `mkdir -p ca/usr/local/etc bin
printf 'host: {name: ca.example.test}\nkey: {type: ecdsa-p256}\nlog: {target: stderr}\nca: {account: nobody}\n' >ca/usr/local/etc/mailcertd.yaml
$mc ensure; $mc ca enrol mail.example.test --from 192.0.2.1
cat >bin/ssh <<'END'
#!/bin/sh
# sshd with its forced command, and a daemon that runs as long as that command waits.
for v in CRASH_AT TORN_AT FAULT POINTS READS; do unset MAILCERTD_$v; done
r=$(dirname "$0")/../ca; q=$(mktemp); cat >"$q"
$MAILCERTD_TEST --root "$r" sign --submit mail.example.test <"$q" & s=$!
while kill -0 $s 2>/dev/null; do $MAILCERTD_TEST --root "$r" ensure >/dev/null 2>&1; sleep 0.01; done
rm "$q"; wait $s
END
chmod 755 bin/ssh; PATH=$PWD/bin:$PATH; export PATH; `
)

// scenarios returns everything that a person or the clock makes mailcertd do.
func scenarios() []scenario {
	all := []scenario{
		{name: "first boot", verb: "ensure", right: pairs, broken: true},
		{name: "renew", before: `$m ensure`, verb: "renew", right: newSerial + pairs, again: true},
		{name: "new key", before: `$m ensure`, verb: "renew --rekey", right: newSerial + newKey + pairs, gap: true,
			again: true},
		{name: "due", before: `$m ensure; ` + aged, verb: "ensure", right: newSerial + pairs},
		{name: "key open", before: `$m ensure; chmod 644 etc/mail/certs/host.key`, verb: "ensure",
			right: `[ "$(stat -c %a etc/mail/certs/host.key)" = 600 ]`, broken: true},
		{name: "both names changed",
			before: `$m ensure; sed -i s/mail.example/post.example/ usr/local/etc/mailcertd.yaml`, verb: "ensure",
			right: `openssl x509 -noout -checkhost post.example.test -in etc/mail/certs/host.cert | grep -q 'does match'`},
		{name: "stanza set",
			before: `mkdir -p -m 755 etc/mail/certs; sh $top/scripts/stanza.sh $PWD/etc/mail/certs mail.example.test`,
			verb:   "ensure",
			right:  newSerial + pairs, keeps: []string{"etc/mail/certs/host.key", "etc/mail/certs/host.cert",
				"etc/mail/certs/cacert.pem"}},
		{name: "bought set", before: buy + carryIn, verb: "ensure", right: owned, then: owned,
			keeps: []string{"bought/*"}},
		{name: "bought set damaged", before: buy + carryIn + `: >etc/mail/certs/host.cert; rm -r bought`,
			verb: "ensure", right: pairs,
			keeps: []string{"etc/mail/certs/host.key", "etc/mail/certs/cacert.pem"}, broken: true, gap: true},
		{name: "install a bought pair", before: `$m ensure;` + buy, verb: "install $root/bought/parcel.pem",
			gap: true, again: true,
			right: `cmp bought/host.key etc/mail/certs/host.key`},
		{name: "install over a bought pair", before: buy + carryIn + `mv bought old; $m ensure;` + buy,
			verb: "install --force $root/bought/parcel.pem", gap: true, again: true,
			right: `cmp bought/host.key etc/mail/certs/host.key`, keeps: []string{"old/*"}},
		{name: "renew --force over a bought pair", before: buy + carryIn + `$m ensure; mv bought old; rm -r old`,
			verb: "renew --force", gap: true, again: true,
			right: newSerial + pairs, keeps: []string{"etc/mail/certs/host.key", "etc/mail/certs/host.cert",
				"etc/mail/certs/cacert.pem"}},
		{name: "issue", before: `$m ensure`, verb: "issue --yes x.example.test -o $root/x.pem", again: true,
			right: `openssl verify -CAfile etc/mail/certs/cacert.pem x.pem; [ "$(openssl x509 -noout -pubkey -in x.pem)" = "$(openssl pkey -pubout -in x.pem)" ]; [ "$(stat -c %a x.pem)" = 600 ]`},
		{name: "sign",
			before: `$m ensure; openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=y.example.test -addext subjectAltName=DNS:y.example.test -keyout y.key -out y.csr 2>/dev/null`,
			verb:   "sign --yes $root/y.csr", right: `openssl verify -CAfile etc/mail/certs/cacert.pem out`,
			again: true},
		{name: "revoke", before: `$m ensure; $m issue --yes x.example.test -o x.pem`, verb: "revoke x.example.test",
			again: true, right: revoked},
		{name: "revoke, CRL installed", conf: "crl: {install: true}",
			before: `$m ensure; $m issue --yes x.example.test -o x.pem`, verb: "revoke x.example.test", again: true,
			right: revoked + `openssl crl -noout -text -in etc/mail/certs/crl.pem | grep -q "$n"`},
		{name: "rollover", before: `$m ensure`, verb: "ca rollover", right: `$m ca show | grep -Eq '^(next|older) '`},
		{name: "rollover --now", before: `$m ensure`, verb: "ca rollover --now",
			right: `$m ca show | grep -q '^older '; ` + pairs},
		{name: "second rollover --now", before: `$m ensure; $m ca rollover --now; $m renew`, verb: "ca rollover --now",
			right: pairs},
		{name: "passphrase CA, first boot", conf: "ca: {passphrase_file: /root/pass}", before: secret, verb: "ensure",
			right: pairs, broken: true},
		{name: "passphrase CA, renew", conf: "ca: {passphrase_file: /root/pass}", before: secret + `$m ensure; ` + lock,
			verb: "renew", right: newSerial + pairs, again: true},
		{name: "trust added",
			before: buy +
				`$m ensure; cat bought/cacert.pem >etc/corp.pem; echo 'trust: [/etc/corp.pem]' >>usr/local/etc/mailcertd.yaml`, verb: "ensure", chore: true, right: trusted, keeps: []string{"etc/corp.pem"}},
		{name: "trust removed", conf: "trust: [/etc/corp.pem]",
			before: buy +
				`cat bought/cacert.pem >etc/corp.pem; $m ensure; sed -i '/^trust/d' usr/local/etc/mailcertd.yaml`,
			verb: "ensure", chore: true,
			right: `! openssl verify -no-CAfile -CApath etc/mail/certs bought/host.cert`,
			keeps: []string{"etc/corp.pem"}},
		{name: "restore", before: buy + carryIn + `$m ensure; $m renew --force`, verb: "restore", gap: true,
			right: owned, keeps: []string{"bought/*"}},
		{name: "purge", before: `$m ensure; $m renew; $m ca rollover --now; echo mine >etc/mail/CA/README`,
			verb: "purge --yes", broken: true, again: true,
			right: `[ ! -e etc/mail/certs/host.key ]; [ ! -e etc/mail/CA/cakey.pem ]`,
			keeps: []string{"etc/mail/CA/README"}, then: `$m purge --yes; mv etc/mail/CA/README .; rmdir etc/mail/CA`},
		{name: "adoption", before: byHand, verb: "ensure",
			right: `openssl verify -no-CAfile -CApath etc/mail/certs etc/mail/certs/host.cert`,
			keeps: []string{"etc/mail/CA/*.key", "etc/mail/CA/cakey.pem", "etc/mail/CA/openssl.cnf",
				"etc/mail/CA/newcerts/*", "etc/mail/CA/cacert.pem"}},
		{name: "adoption, renew", before: byHand + `$m ensure`, verb: "renew", right: newSerial + pairs, again: true,
			keeps: []string{"etc/mail/CA/*.key", "etc/mail/CA/cakey.pem", "etc/mail/CA/openssl.cnf",
				"etc/mail/CA/newcerts/*", "etc/mail/CA/cacert.pem"}},
		{name: "member's first boot", conf: "issuer: {ssh: {target: mailcertd@ca}}", before: member, verb: "renew",
			right: memberHas, broken: true, gap: true, then: `$m renew`},
		{name: "member's renewal", conf: "issuer: {ssh: {target: mailcertd@ca}}", before: member + `$m renew`,
			verb: "renew", right: newSerial + memberHas, then: `$m renew`},
		{name: "answer to a member", conf: "issuer: {ssh: {target: mailcertd@ca}}",
			before: member + `$m renew; ` + question, under: "ca", verb: "ensure", chore: true,
			right: `[ -s ca/var/spool/mailcertd/out/00112233445566778899aabbccddeeff.ans ]`, then: `$mc ensure`},
		{name: "member is enrolled", conf: "issuer: {ssh: {target: mailcertd@ca}}", before: member + `$m renew`,
			under: "ca", verb: "ca enrol second.example.test --from 192.0.2.2",
			right: `grep -q second.example.test ca/etc/mail/CA/members.json`, then: `$mc ensure`},
	}
	return append(all, repairs()...)
}

const (
	revoked = `n=$(openssl x509 -noout -serial -in x.pem); n=${n#serial=}; grep -q "^R.*$n" etc/mail/CA/index.txt; openssl crl -noout -text -in etc/mail/CA/crl.pem | grep -q "$n"; `
	secret  = `mkdir -p -m 700 root; (umask 077; echo secret >root/pass); `
	lock    = `grep -q ENCRYPTED etc/mail/CA/cakey.pem || { openssl pkey -aes256 -passout pass:secret -in etc/mail/CA/cakey.pem -out k; cat k >etc/mail/CA/cakey.pem; rm k; }; `
	trusted = `openssl verify -no-CAfile -CApath etc/mail/certs bought/host.cert`
	// memberHas checks that the CA has issued the certificate.
	memberHas = pairs + `openssl verify -CAfile ca/etc/mail/CA/cacert.pem etc/mail/certs/host.cert; `
	// question puts a request of this host into the inbox. No process waits for the answer.
	question = `(echo 'from: mail.example.test'; $m request) >ca/var/spool/mailcertd/in/00112233445566778899aabbccddeeff.req; `
)

// repairs returns a scenario for each file of the set and each damage: missing, empty, garbage, and a directory.
func repairs() (all []scenario) {
	for _, f := range []string{"host.cert", "host.key", "cacert.pem", "dh.param"} {
		path := "etc/mail/certs/" + f
		for _, c := range []struct{ what, damage, then string }{
			{"missing", "rm " + path, ""},
			{"empty", ": >" + path, ""},
			{"garbage", "echo x >" + path, ""},
			{"is a directory", "rm " + path + "; mkdir " + path, "rmdir " + path},
		} {
			all = append(all, scenario{name: f + " " + c.what, before: "$m ensure; " + c.damage, verb: "ensure",
				right: pairs + `openssl dhparam -noout -in etc/mail/certs/dh.param`,
				then:  c.then, stuck: c.then != "", broken: true, gap: f == "host.key"})
		}
	}
	link := `$m ensure; l=$(echo etc/mail/certs/*.0); `
	found := `openssl verify -no-CAfile -CApath etc/mail/certs etc/mail/certs/host.cert`
	for _, c := range [][3]string{{"missing", `rm $l`, found}, {"dangling", `rm $l; ln -s nothing $l`, found},
		{"a file", `rm $l; echo x >$l`, found}, {"is a directory", `rm $l; mkdir $l`, ""}} {
		all = append(all, scenario{name: "link " + c[0], before: link + c[1], verb: "ensure", right: c[2],
			then: `rmdir etc/mail/certs/*.0 || :`})
	}
	return append(all,
		scenario{name: "certs removed", before: `$m ensure; mv etc/mail/certs/note.txt .; rm -r etc/mail/certs`,
			verb: "ensure", right: pairs, broken: true, gap: true})
}
