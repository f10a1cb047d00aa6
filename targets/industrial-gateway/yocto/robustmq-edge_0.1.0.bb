SUMMARY = "MQTT gateway with store-and-forward to RobustMQ"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

# The static binary of the release, put beside this recipe by cross/build.sh and cp: nothing is compiled.
SRC_URI = "file://robustmq-edge file://robustmq-edge.service file://gateway.toml file://LICENSE"
S = "${WORKDIR}"

inherit systemd useradd

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --user-group --no-create-home --home-dir /data/robustmq-edge --shell /sbin/nologin robustmq-edge"
SYSTEMD_SERVICE:${PN} = "robustmq-edge.service"
INSANE_SKIP:${PN} = "already-stripped"

do_compile[noexec] = "1"

do_install() {
    install -D -m 0755 ${WORKDIR}/robustmq-edge ${D}${bindir}/robustmq-edge
    install -D -m 0644 ${WORKDIR}/robustmq-edge.service ${D}${systemd_system_unitdir}/robustmq-edge.service
    install -D -m 0640 ${WORKDIR}/gateway.toml ${D}${sysconfdir}/robustmq-edge/gateway.toml
    chown root:robustmq-edge ${D}${sysconfdir}/robustmq-edge/gateway.toml
}

CONFFILES:${PN} = "${sysconfdir}/robustmq-edge/gateway.toml"
