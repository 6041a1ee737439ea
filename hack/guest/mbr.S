# Boot sector of boot.img: runs the first sector of the first partition at 0x7c00, as every PC does. Unlike others it
# clears that place by stores of its own before the firmware reads into it. An emulator without KVM keeps translations of
# code that has run there; it notices the processor's stores, but not those of a disk that another process serves.
    .code16
    .set place, 0x7c00
    .set copy, 0x600
    .set first_partition, copy + 0x1be
    .set sector_words, 256
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ss
    movw $place, %sp
    movw %ax, %ds
    movw %ax, %es
    sti
    cld
    movw $place, %si
    movw $copy, %di
    movw $sector_words, %cx
    rep movsw
    ljmp $0, $copy + (moved - _start)
moved:
    movw $place, %di
    movw $sector_words, %cx
    rep stosw
    movl first_partition + 8, %eax
    movl %eax, copy + (packet_sector - _start)
    movw $copy + (packet - _start), %si
    movb $0x42, %ah                     # extended read; the drive is still in %dl
    int $0x13
    jc failed
    movw $first_partition, %si          # where the next stage expects its partition's entry
    ljmp $0, $place
failed:
    int $0x18
packet:
    .byte 16, 0
    .word 1, place, 0
packet_sector:
    .quad 0
