package test

import (
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// A jail shares the machine with a web server that has port 80 of another address. mailcertd binds the address of the
// jail alone, to which the name leads, and check knows that this works.
func TestPublicOnJailAddress(t *testing.T) {
	t.Parallel()
	const ip = "10.99.0.1"
	h := bed.NewHost(t, "mail-a.example.test", ip)
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h})
	h.Must(t, "ip", "addr", "add", ip+"/32", "dev", "lo")
	p.Resolves(t, "mail-a.example.test", ip)
	conf := func(listen string) {
		write(t, h.Path("/etc/mail/mailcertd.yaml"), strings.Replace(publicYAML(p), "    agree_tos", "    http: {"+
			listen+"}\n    agree_tos", 1)+"dns: {resolver: '"+p.Resolver+"'}\n", 0o644)
	}
	conf("")
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	interim := h.OnDisk(t)
	web := h.Command("openssl", "s_server", "-accept", "127.0.0.1:80", "-nocert", "-quiet")
	if err := web.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = web.Process.Kill(); _ = web.Wait() })
	bed.Wait(t, "port 80 to be taken", func() error {
		_, err := h.Command("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/80").CombinedOutput()
		return err
	})
	if out, _ := h.Run(m, publicConf, "check"); !strings.Contains(out, "cannot listen on :80") {
		t.Errorf("the port is taken, and check says:\n%s", out)
	}
	conf("listen: '" + ip + ":80'")
	if out, _ := h.Run(m, publicConf, "check"); strings.Contains(out, "acme-challenge") {
		t.Errorf("the port of the jail's address is free, and check says:\n%s", out)
	}
	h.Must(t, m, publicConf, "renew")
	serves(t, h, interim)
	if p.Orders() != 1 {
		t.Errorf("%d orders", p.Orders())
	}
}
