SUMMARY = "MQTT gateway with store-and-forward to RobustMQ"
SECTION = "net"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

# The static binary of a release, in files/ with what targets/build.sh industrial-gateway gathers: nothing
# is compiled.
SRC_URI = "file://robustmq-edge \
           file://robustmq-edge.service \
           file://data-partition.conf \
           file://gateway.toml \
           file://LICENSE \
           "
# Where files are unpacked; before release 5.1 there is only one folder.
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

inherit systemd useradd

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --user-group --no-create-home --home-dir /data/robustmq-edge --shell /sbin/nologin robustmq-edge"
SYSTEMD_SERVICE:${PN} = "robustmq-edge.service"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0755 ${S}/robustmq-edge ${D}${bindir}/robustmq-edge
    install -D -m 0644 ${S}/robustmq-edge.service ${D}${systemd_system_unitdir}/robustmq-edge.service
    install -D -m 0644 ${S}/data-partition.conf ${D}${systemd_system_unitdir}/robustmq-edge.service.d/data-partition.conf
    install -d -m 0750 ${D}${sysconfdir}/robustmq-edge
    install -m 0640 ${S}/gateway.toml ${D}${sysconfdir}/robustmq-edge/gateway.toml
    chown -R root:robustmq-edge ${D}${sysconfdir}/robustmq-edge
}

FILES:${PN} += "${systemd_system_unitdir}/robustmq-edge.service.d"
CONFFILES:${PN} = "${sysconfdir}/robustmq-edge/gateway.toml"
# It was linked elsewhere, and has no names left.
INSANE_SKIP:${PN} = "already-stripped ldflags"
