/**
 * A guest of 184 bytes that needs of a processor what every kernel needs at once: it turns on 4-level paging and long
 * mode, jumps into 64-bit code, uses SSE2, and reports success by writing `PROBE_PASSED` to QEMU's isa-debug-exit device.
 * Machines whose KVM runs firmware but no kernel stop on the way. Multiboot with a raw image (Multiboot 0.6.96, 3.1.3).
 */
export function probeGuest(): Buffer {
  return Buffer.from(
    [
      // Header: magic, flags (addresses follow), checksum; then header, load, load end, bss end and entry address.
      '02b0ad1b 00000100 fe4f51e4',
      '00001000 00001000 b8001000 b8001000 20001000',
      // mov edi, 0x200000; mov cr3, edi; xor eax, eax; mov ecx, 0xc00; rep stosd: three empty page tables
      'bf00002000 0f22df 31c0 b9000c0000 f3ab',
      // [0x200000] = 0x201007; [0x201000] = 0x202007; [0x202000] = 0x87: the first 2 MiB where they are
      'c7050000200007102000 c7050010200007202000 c7050020200087000000',
      // mov eax, PAE|OSFXSR|OSXMMEXCPT; mov cr4, eax
      'b820060000 0f22e0',
      // mov ecx, EFER; rdmsr; or eax, LME; wrmsr
      'b9800000c0 0f32 0d00010000 0f30',
      // mov eax, cr0; and eax, ~EM; or eax, PG|MP; mov cr0, eax
      '0f20c0 83e0fb 0d02000080 0f22c0',
      // lgdt [0x100097]; jmp 8:0x100081
      '0f011597001000 ea810010000800',
      // 64-bit from here: pcmpeqd xmm0, xmm0; movq rax, xmm0; cmp rax, -1; jne over the report
      '660f76c0 66480f7ec0 4883f8ff 7504',
      // mov al, PROBE_PASSED; out 0xf4, al; then hlt for ever
      'b010 e6f4 f4ebfd',
      // limit and address of the descriptor table, padding, and the table: null, 64-bit code, data
      '1700a0001000 000000',
      '0000000000000000 ffff0000009aaf00 ffff00000092cf00',
    ]
      .join('')
      .replaceAll(' ', ''),
    'hex',
  );
}

/** I/O port of the isa-debug-exit device. */
export const PROBE_EXIT_PORT = 0xf4;

/** What the guest writes there when all went well. */
export const PROBE_PASSED = 0x10;

/** QEMU's exit code then: isa-debug-exit makes an odd code of any value (hw/misc/debugexit.c). */
export const PROBE_PASSED_EXIT_CODE = (PROBE_PASSED << 1) | 1;
