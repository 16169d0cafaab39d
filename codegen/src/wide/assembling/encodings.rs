//! The instructions on vectors that leaves are made of, and their encodings.

use iced_x86::Code;

use super::instructions::{Asm, Forms, Instructions};
use crate::wide::types::operands::Operand;

macro_rules! code {
    (-) => {
        Code::INVALID
    };
    ($code:ident) => {
        Code::$code
    };
}

macro_rules! instruction {
    ($name:ident ($($operand:ident)*) $forms:expr, $stores:expr) => {
        pub fn $name(&mut self, $($operand: impl Into<Operand>),*) -> Asm {
            static FORMS: Forms = $forms;
            static STORES: Option<Forms> = $stores;
            self.vector(&FORMS, STORES.as_ref(), &[$($operand.into()),*])
        }
    };
    ($name:ident 2 $($rest:tt)*) => { instruction!($name (to a) $($rest)*); };
    ($name:ident 3 $($rest:tt)*) => { instruction!($name (to a b) $($rest)*); };
    ($name:ident 4 $($rest:tt)*) => { instruction!($name (to a b c) $($rest)*); };
}

/// Name, operands, encodings with VEX and EVEX by width; those to memory or a general register, where they
/// are others.
macro_rules! instructions {
    ($(
        $name:ident $operands:tt
        [$($vex:tt)*] [$($evex:tt)*]
        $([$($store_vex:tt)*] [$($store_evex:tt)*])?;
    )*) => {
        impl Instructions {
            $(instruction!($name $operands
                Forms { vex: [$(code!($vex)),*], evex: [$(code!($evex)),*] },
                stores!($([$($store_vex)*] [$($store_evex)*])?)
            );)*
        }

        /// All encodings by name, those that store apart.
        #[cfg(test)]
        fn all() -> Vec<(&'static str, Forms)> {
            let rows = [$((
                stringify!($name),
                Some(Forms { vex: [$(code!($vex)),*], evex: [$(code!($evex)),*] }),
                stores!($([$($store_vex)*] [$($store_evex)*])?),
            )),*];
            rows.into_iter().flat_map(|(name, forms, stores)| {
                forms.into_iter().chain(stores).map(move |forms| (name, forms))
            }).collect()
        }
    };
}

macro_rules! stores {
    () => {
        None
    };
    ([$($vex:tt)*] [$($evex:tt)*]) => {
        Some(Forms { vex: [$(code!($vex)),*], evex: [$(code!($evex)),*] })
    };
}

instructions! {
    vmovups 2
        [VEX_Vmovups_xmm_xmmm128 VEX_Vmovups_ymm_ymmm256]
        [EVEX_Vmovups_xmm_k1z_xmmm128 EVEX_Vmovups_ymm_k1z_ymmm256 EVEX_Vmovups_zmm_k1z_zmmm512]
        [VEX_Vmovups_xmmm128_xmm VEX_Vmovups_ymmm256_ymm]
        [EVEX_Vmovups_xmmm128_k1z_xmm EVEX_Vmovups_ymmm256_k1z_ymm EVEX_Vmovups_zmmm512_k1z_zmm];
    vmovaps 2
        [VEX_Vmovaps_xmm_xmmm128 VEX_Vmovaps_ymm_ymmm256]
        [EVEX_Vmovaps_xmm_k1z_xmmm128 EVEX_Vmovaps_ymm_k1z_ymmm256 EVEX_Vmovaps_zmm_k1z_zmmm512]
        [VEX_Vmovaps_xmmm128_xmm VEX_Vmovaps_ymmm256_ymm]
        [EVEX_Vmovaps_xmmm128_k1z_xmm EVEX_Vmovaps_ymmm256_k1z_ymm EVEX_Vmovaps_zmmm512_k1z_zmm];
    vmovss 2
        [VEX_Vmovss_xmm_m32 -]
        [EVEX_Vmovss_xmm_k1z_m32 - -]
        [VEX_Vmovss_m32_xmm -]
        [EVEX_Vmovss_m32_k1_xmm - -];
    vmovsd 2
        [VEX_Vmovsd_xmm_m64 -]
        [EVEX_Vmovsd_xmm_k1z_m64 - -]
        [VEX_Vmovsd_m64_xmm -]
        [EVEX_Vmovsd_m64_k1_xmm - -];
    vmovlps 2
        [VEX_Vmovlps_m64_xmm -]
        [EVEX_Vmovlps_m64_xmm - -];
    vmovd 2
        [VEX_Vmovd_xmm_rm32 -]
        [EVEX_Vmovd_xmm_rm32 - -]
        [VEX_Vmovd_rm32_xmm -]
        [EVEX_Vmovd_rm32_xmm - -];
    vmovq 2
        [VEX_Vmovq_xmm_xmmm64 -]
        [EVEX_Vmovq_xmm_xmmm64 - -]
        [VEX_Vmovq_xmmm64_xmm -]
        [EVEX_Vmovq_xmmm64_xmm - -];
    vmovdqu8 2
        [- -]
        [EVEX_Vmovdqu8_xmm_k1z_xmmm128 EVEX_Vmovdqu8_ymm_k1z_ymmm256 EVEX_Vmovdqu8_zmm_k1z_zmmm512]
        [- -]
        [EVEX_Vmovdqu8_xmmm128_k1z_xmm EVEX_Vmovdqu8_ymmm256_k1z_ymm EVEX_Vmovdqu8_zmmm512_k1z_zmm];
    vmovdqu16 2
        [- -]
        [EVEX_Vmovdqu16_xmm_k1z_xmmm128 EVEX_Vmovdqu16_ymm_k1z_ymmm256 EVEX_Vmovdqu16_zmm_k1z_zmmm512]
        [- -]
        [EVEX_Vmovdqu16_xmmm128_k1z_xmm EVEX_Vmovdqu16_ymmm256_k1z_ymm EVEX_Vmovdqu16_zmmm512_k1z_zmm];
    vbroadcastss_register 2
        [VEX_Vbroadcastss_xmm_xmm VEX_Vbroadcastss_ymm_xmm]
        [EVEX_Vbroadcastss_xmm_k1z_xmmm32 EVEX_Vbroadcastss_ymm_k1z_xmmm32 EVEX_Vbroadcastss_zmm_k1z_xmmm32];
    vbroadcastss_memory 2
        [VEX_Vbroadcastss_xmm_m32 VEX_Vbroadcastss_ymm_m32]
        [EVEX_Vbroadcastss_xmm_k1z_xmmm32 EVEX_Vbroadcastss_ymm_k1z_xmmm32 EVEX_Vbroadcastss_zmm_k1z_xmmm32];
    vpbroadcastd 2
        [VEX_Vpbroadcastd_xmm_xmmm32 VEX_Vpbroadcastd_ymm_xmmm32]
        [EVEX_Vpbroadcastd_xmm_k1z_xmmm32 EVEX_Vpbroadcastd_ymm_k1z_xmmm32 EVEX_Vpbroadcastd_zmm_k1z_xmmm32];
    vmaskmovps 3
        [VEX_Vmaskmovps_xmm_xmm_m128 VEX_Vmaskmovps_ymm_ymm_m256]
        [- - -]
        [VEX_Vmaskmovps_m128_xmm_xmm VEX_Vmaskmovps_m256_ymm_ymm]
        [- - -];
    vgatherdps 2
        [- -]
        [EVEX_Vgatherdps_xmm_k1_vm32x EVEX_Vgatherdps_ymm_k1_vm32y EVEX_Vgatherdps_zmm_k1_vm32z];
    vgatherdps_masked 3
        [VEX_Vgatherdps_xmm_vm32x_xmm VEX_Vgatherdps_ymm_vm32y_ymm]
        [- - -];
    vpmovzxbd 2
        [VEX_Vpmovzxbd_xmm_xmmm32 VEX_Vpmovzxbd_ymm_xmmm64]
        [EVEX_Vpmovzxbd_xmm_k1z_xmmm32 EVEX_Vpmovzxbd_ymm_k1z_xmmm64 EVEX_Vpmovzxbd_zmm_k1z_xmmm128];
    vpmovzxwd 2
        [VEX_Vpmovzxwd_xmm_xmmm64 VEX_Vpmovzxwd_ymm_xmmm128]
        [EVEX_Vpmovzxwd_xmm_k1z_xmmm64 EVEX_Vpmovzxwd_ymm_k1z_xmmm128 EVEX_Vpmovzxwd_zmm_k1z_ymmm256];
    vpmovdw 2
        [- -]
        [EVEX_Vpmovdw_xmmm64_k1z_xmm EVEX_Vpmovdw_xmmm128_k1z_ymm EVEX_Vpmovdw_ymmm256_k1z_zmm];
    vpmovdb 2
        [- -]
        [EVEX_Vpmovdb_xmmm32_k1z_xmm EVEX_Vpmovdb_xmmm64_k1z_ymm EVEX_Vpmovdb_xmmm128_k1z_zmm];
    vinsertps 4
        [VEX_Vinsertps_xmm_xmm_xmmm32_imm8 -]
        [EVEX_Vinsertps_xmm_xmm_xmmm32_imm8 - -];
    vinsertf128 4
        [- VEX_Vinsertf128_ymm_ymm_xmmm128_imm8]
        [- - -];
    vinsertf32x4 4
        [- -]
        [- EVEX_Vinsertf32x4_ymm_k1z_ymm_xmmm128_imm8 EVEX_Vinsertf32x4_zmm_k1z_zmm_xmmm128_imm8];
    vextractf128 3
        [- VEX_Vextractf128_xmmm128_ymm_imm8]
        [- - -];
    vextractf32x4 3
        [- -]
        [- EVEX_Vextractf32x4_xmmm128_k1z_ymm_imm8 EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8];
    vextracti128 3
        [- VEX_Vextracti128_xmmm128_ymm_imm8]
        [- - -];
    vextracti32x4 3
        [- -]
        [- EVEX_Vextracti32x4_xmmm128_k1z_ymm_imm8 EVEX_Vextracti32x4_xmmm128_k1z_zmm_imm8];
    vextractps 3
        [VEX_Vextractps_rm32_xmm_imm8 -]
        [EVEX_Vextractps_rm32_xmm_imm8 - -];
    vpextrb 3
        [VEX_Vpextrb_r32m8_xmm_imm8 -]
        [- - -];
    vpextrw 3
        [VEX_Vpextrw_r32_xmm_imm8 -]
        [- - -]
        [VEX_Vpextrw_r32m16_xmm_imm8 -]
        [- - -];
    vpinsrb 4
        [VEX_Vpinsrb_xmm_xmm_r32m8_imm8 -]
        [- - -];
    vpinsrw 4
        [VEX_Vpinsrw_xmm_xmm_r32m16_imm8 -]
        [EVEX_Vpinsrw_xmm_xmm_r32m16_imm8 - -];
    vpinsrd 4
        [VEX_Vpinsrd_xmm_xmm_rm32_imm8 -]
        [EVEX_Vpinsrd_xmm_xmm_rm32_imm8 - -];
    vaddps 3
        [VEX_Vaddps_xmm_xmm_xmmm128 VEX_Vaddps_ymm_ymm_ymmm256]
        [EVEX_Vaddps_xmm_k1z_xmm_xmmm128b32 EVEX_Vaddps_ymm_k1z_ymm_ymmm256b32 EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er];
    vsubps 3
        [VEX_Vsubps_xmm_xmm_xmmm128 VEX_Vsubps_ymm_ymm_ymmm256]
        [EVEX_Vsubps_xmm_k1z_xmm_xmmm128b32 EVEX_Vsubps_ymm_k1z_ymm_ymmm256b32 EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er];
    vmulps 3
        [VEX_Vmulps_xmm_xmm_xmmm128 VEX_Vmulps_ymm_ymm_ymmm256]
        [EVEX_Vmulps_xmm_k1z_xmm_xmmm128b32 EVEX_Vmulps_ymm_k1z_ymm_ymmm256b32 EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er];
    vdivps 3
        [VEX_Vdivps_xmm_xmm_xmmm128 VEX_Vdivps_ymm_ymm_ymmm256]
        [EVEX_Vdivps_xmm_k1z_xmm_xmmm128b32 EVEX_Vdivps_ymm_k1z_ymm_ymmm256b32 EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er];
    vmaxps 3
        [VEX_Vmaxps_xmm_xmm_xmmm128 VEX_Vmaxps_ymm_ymm_ymmm256]
        [EVEX_Vmaxps_xmm_k1z_xmm_xmmm128b32 EVEX_Vmaxps_ymm_k1z_ymm_ymmm256b32 EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae];
    vminps 3
        [VEX_Vminps_xmm_xmm_xmmm128 VEX_Vminps_ymm_ymm_ymmm256]
        [EVEX_Vminps_xmm_k1z_xmm_xmmm128b32 EVEX_Vminps_ymm_k1z_ymm_ymmm256b32 EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae];
    vsqrtps 2
        [VEX_Vsqrtps_xmm_xmmm128 VEX_Vsqrtps_ymm_ymmm256]
        [EVEX_Vsqrtps_xmm_k1z_xmmm128b32 EVEX_Vsqrtps_ymm_k1z_ymmm256b32 EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er];
    vfmadd213ps 3
        [VEX_Vfmadd213ps_xmm_xmm_xmmm128 VEX_Vfmadd213ps_ymm_ymm_ymmm256]
        [EVEX_Vfmadd213ps_xmm_k1z_xmm_xmmm128b32 EVEX_Vfmadd213ps_ymm_k1z_ymm_ymmm256b32 EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er];
    vfmadd231ps 3
        [VEX_Vfmadd231ps_xmm_xmm_xmmm128 VEX_Vfmadd231ps_ymm_ymm_ymmm256]
        [EVEX_Vfmadd231ps_xmm_k1z_xmm_xmmm128b32 EVEX_Vfmadd231ps_ymm_k1z_ymm_ymmm256b32 EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er];
    vroundps 3
        [VEX_Vroundps_xmm_xmmm128_imm8 VEX_Vroundps_ymm_ymmm256_imm8]
        [- - -];
    vrndscaleps 3
        [- -]
        [EVEX_Vrndscaleps_xmm_k1z_xmmm128b32_imm8 EVEX_Vrndscaleps_ymm_k1z_ymmm256b32_imm8 EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae];
    vcvttps2dq 2
        [VEX_Vcvttps2dq_xmm_xmmm128 VEX_Vcvttps2dq_ymm_ymmm256]
        [EVEX_Vcvttps2dq_xmm_k1z_xmmm128b32 EVEX_Vcvttps2dq_ymm_k1z_ymmm256b32 EVEX_Vcvttps2dq_zmm_k1z_zmmm512b32_sae];
    vcvtdq2ps 2
        [VEX_Vcvtdq2ps_xmm_xmmm128 VEX_Vcvtdq2ps_ymm_ymmm256]
        [EVEX_Vcvtdq2ps_xmm_k1z_xmmm128b32 EVEX_Vcvtdq2ps_ymm_k1z_ymmm256b32 EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er];
    vandps 3
        [VEX_Vandps_xmm_xmm_xmmm128 VEX_Vandps_ymm_ymm_ymmm256]
        [EVEX_Vandps_xmm_k1z_xmm_xmmm128b32 EVEX_Vandps_ymm_k1z_ymm_ymmm256b32 EVEX_Vandps_zmm_k1z_zmm_zmmm512b32];
    vorps 3
        [VEX_Vorps_xmm_xmm_xmmm128 VEX_Vorps_ymm_ymm_ymmm256]
        [EVEX_Vorps_xmm_k1z_xmm_xmmm128b32 EVEX_Vorps_ymm_k1z_ymm_ymmm256b32 EVEX_Vorps_zmm_k1z_zmm_zmmm512b32];
    vxorps 3
        [VEX_Vxorps_xmm_xmm_xmmm128 VEX_Vxorps_ymm_ymm_ymmm256]
        [EVEX_Vxorps_xmm_k1z_xmm_xmmm128b32 EVEX_Vxorps_ymm_k1z_ymm_ymmm256b32 EVEX_Vxorps_zmm_k1z_zmm_zmmm512b32];
    vpxor 3
        [VEX_Vpxor_xmm_xmm_xmmm128 VEX_Vpxor_ymm_ymm_ymmm256]
        [- - -];
    vpternlogd 4
        [- -]
        [EVEX_Vpternlogd_xmm_k1z_xmm_xmmm128b32_imm8 EVEX_Vpternlogd_ymm_k1z_ymm_ymmm256b32_imm8 EVEX_Vpternlogd_zmm_k1z_zmm_zmmm512b32_imm8];
    vcmpps 4
        [VEX_Vcmpps_xmm_xmm_xmmm128_imm8 VEX_Vcmpps_ymm_ymm_ymmm256_imm8]
        [EVEX_Vcmpps_kr_k1_xmm_xmmm128b32_imm8 EVEX_Vcmpps_kr_k1_ymm_ymmm256b32_imm8 EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae];
    vpcmpeqd 3
        [VEX_Vpcmpeqd_xmm_xmm_xmmm128 VEX_Vpcmpeqd_ymm_ymm_ymmm256]
        [EVEX_Vpcmpeqd_kr_k1_xmm_xmmm128b32 EVEX_Vpcmpeqd_kr_k1_ymm_ymmm256b32 EVEX_Vpcmpeqd_kr_k1_zmm_zmmm512b32];
    vpcmpgtd 3
        [VEX_Vpcmpgtd_xmm_xmm_xmmm128 VEX_Vpcmpgtd_ymm_ymm_ymmm256]
        [EVEX_Vpcmpgtd_kr_k1_xmm_xmmm128b32 EVEX_Vpcmpgtd_kr_k1_ymm_ymmm256b32 EVEX_Vpcmpgtd_kr_k1_zmm_zmmm512b32];
    vptestmd 3
        [- -]
        [EVEX_Vptestmd_kr_k1_xmm_xmmm128b32 EVEX_Vptestmd_kr_k1_ymm_ymmm256b32 EVEX_Vptestmd_kr_k1_zmm_zmmm512b32];
    vpmovm2d 2
        [- -]
        [EVEX_Vpmovm2d_xmm_kr EVEX_Vpmovm2d_ymm_kr EVEX_Vpmovm2d_zmm_kr];
    vpmovd2m 2
        [- -]
        [EVEX_Vpmovd2m_kr_xmm EVEX_Vpmovd2m_kr_ymm EVEX_Vpmovd2m_kr_zmm];
    vpaddd 3
        [VEX_Vpaddd_xmm_xmm_xmmm128 VEX_Vpaddd_ymm_ymm_ymmm256]
        [EVEX_Vpaddd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpaddd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32];
    vpsubd 3
        [VEX_Vpsubd_xmm_xmm_xmmm128 VEX_Vpsubd_ymm_ymm_ymmm256]
        [EVEX_Vpsubd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpsubd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32];
    vpmulld 3
        [VEX_Vpmulld_xmm_xmm_xmmm128 VEX_Vpmulld_ymm_ymm_ymmm256]
        [EVEX_Vpmulld_xmm_k1z_xmm_xmmm128b32 EVEX_Vpmulld_ymm_k1z_ymm_ymmm256b32 EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32];
    vpmuludq 3
        [VEX_Vpmuludq_xmm_xmm_xmmm128 VEX_Vpmuludq_ymm_ymm_ymmm256]
        [EVEX_Vpmuludq_xmm_k1z_xmm_xmmm128b64 EVEX_Vpmuludq_ymm_k1z_ymm_ymmm256b64 EVEX_Vpmuludq_zmm_k1z_zmm_zmmm512b64];
    vpmaxsd 3
        [VEX_Vpmaxsd_xmm_xmm_xmmm128 VEX_Vpmaxsd_ymm_ymm_ymmm256]
        [EVEX_Vpmaxsd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpmaxsd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32];
    vpminsd 3
        [VEX_Vpminsd_xmm_xmm_xmmm128 VEX_Vpminsd_ymm_ymm_ymmm256]
        [EVEX_Vpminsd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpminsd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32];
    vpabsd 2
        [VEX_Vpabsd_xmm_xmmm128 VEX_Vpabsd_ymm_ymmm256]
        [EVEX_Vpabsd_xmm_k1z_xmmm128b32 EVEX_Vpabsd_ymm_k1z_ymmm256b32 EVEX_Vpabsd_zmm_k1z_zmmm512b32];
    vpslld 3
        [VEX_Vpslld_xmm_xmm_imm8 VEX_Vpslld_ymm_ymm_imm8]
        [EVEX_Vpslld_xmm_k1z_xmmm128b32_imm8 EVEX_Vpslld_ymm_k1z_ymmm256b32_imm8 EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8];
    vpsrld 3
        [VEX_Vpsrld_xmm_xmm_imm8 VEX_Vpsrld_ymm_ymm_imm8]
        [EVEX_Vpsrld_xmm_k1z_xmmm128b32_imm8 EVEX_Vpsrld_ymm_k1z_ymmm256b32_imm8 EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8];
    vpsrad 3
        [VEX_Vpsrad_xmm_xmm_imm8 VEX_Vpsrad_ymm_ymm_imm8]
        [EVEX_Vpsrad_xmm_k1z_xmmm128b32_imm8 EVEX_Vpsrad_ymm_k1z_ymmm256b32_imm8 EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8];
    vpsrlq 3
        [VEX_Vpsrlq_xmm_xmm_imm8 VEX_Vpsrlq_ymm_ymm_imm8]
        [EVEX_Vpsrlq_xmm_k1z_xmmm128b64_imm8 EVEX_Vpsrlq_ymm_k1z_ymmm256b64_imm8 EVEX_Vpsrlq_zmm_k1z_zmmm512b64_imm8];
    vpsllvd 3
        [VEX_Vpsllvd_xmm_xmm_xmmm128 VEX_Vpsllvd_ymm_ymm_ymmm256]
        [EVEX_Vpsllvd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpsllvd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpsllvd_zmm_k1z_zmm_zmmm512b32];
    vpsrlvd 3
        [VEX_Vpsrlvd_xmm_xmm_xmmm128 VEX_Vpsrlvd_ymm_ymm_ymmm256]
        [EVEX_Vpsrlvd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpsrlvd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpsrlvd_zmm_k1z_zmm_zmmm512b32];
    vpsravd 3
        [VEX_Vpsravd_xmm_xmm_xmmm128 VEX_Vpsravd_ymm_ymm_ymmm256]
        [EVEX_Vpsravd_xmm_k1z_xmm_xmmm128b32 EVEX_Vpsravd_ymm_k1z_ymm_ymmm256b32 EVEX_Vpsravd_zmm_k1z_zmm_zmmm512b32];
    vblendvps 4
        [VEX_Vblendvps_xmm_xmm_xmmm128_xmm VEX_Vblendvps_ymm_ymm_ymmm256_ymm]
        [- - -];
    vpblendd 4
        [VEX_Vpblendd_xmm_xmm_xmmm128_imm8 VEX_Vpblendd_ymm_ymm_ymmm256_imm8]
        [- - -];
    vshufps 4
        [VEX_Vshufps_xmm_xmm_xmmm128_imm8 VEX_Vshufps_ymm_ymm_ymmm256_imm8]
        [EVEX_Vshufps_xmm_k1z_xmm_xmmm128b32_imm8 EVEX_Vshufps_ymm_k1z_ymm_ymmm256b32_imm8 EVEX_Vshufps_zmm_k1z_zmm_zmmm512b32_imm8];
    vpermilps 3
        [VEX_Vpermilps_xmm_xmmm128_imm8 VEX_Vpermilps_ymm_ymmm256_imm8]
        [EVEX_Vpermilps_xmm_k1z_xmmm128b32_imm8 EVEX_Vpermilps_ymm_k1z_ymmm256b32_imm8 EVEX_Vpermilps_zmm_k1z_zmmm512b32_imm8];
    vpermpd 3
        [- VEX_Vpermpd_ymm_ymmm256_imm8]
        [- EVEX_Vpermpd_ymm_k1z_ymmm256b64_imm8 EVEX_Vpermpd_zmm_k1z_zmmm512b64_imm8];
    vperm2f128 4
        [- VEX_Vperm2f128_ymm_ymm_ymmm256_imm8]
        [- - -];
    vshuff32x4 4
        [- -]
        [- EVEX_Vshuff32x4_ymm_k1z_ymm_ymmm256b32_imm8 EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8];
    vunpcklps 3
        [VEX_Vunpcklps_xmm_xmm_xmmm128 VEX_Vunpcklps_ymm_ymm_ymmm256]
        [EVEX_Vunpcklps_xmm_k1z_xmm_xmmm128b32 EVEX_Vunpcklps_ymm_k1z_ymm_ymmm256b32 EVEX_Vunpcklps_zmm_k1z_zmm_zmmm512b32];
    vunpckhps 3
        [VEX_Vunpckhps_xmm_xmm_xmmm128 VEX_Vunpckhps_ymm_ymm_ymmm256]
        [EVEX_Vunpckhps_xmm_k1z_xmm_xmmm128b32 EVEX_Vunpckhps_ymm_k1z_ymm_ymmm256b32 EVEX_Vunpckhps_zmm_k1z_zmm_zmmm512b32];
    vunpcklpd 3
        [VEX_Vunpcklpd_xmm_xmm_xmmm128 VEX_Vunpcklpd_ymm_ymm_ymmm256]
        [EVEX_Vunpcklpd_xmm_k1z_xmm_xmmm128b64 EVEX_Vunpcklpd_ymm_k1z_ymm_ymmm256b64 EVEX_Vunpcklpd_zmm_k1z_zmm_zmmm512b64];
    vunpckhpd 3
        [VEX_Vunpckhpd_xmm_xmm_xmmm128 VEX_Vunpckhpd_ymm_ymm_ymmm256]
        [EVEX_Vunpckhpd_xmm_k1z_xmm_xmmm128b64 EVEX_Vunpckhpd_ymm_k1z_ymm_ymmm256b64 EVEX_Vunpckhpd_zmm_k1z_zmm_zmmm512b64];
    vpackusdw 3
        [VEX_Vpackusdw_xmm_xmm_xmmm128 VEX_Vpackusdw_ymm_ymm_ymmm256]
        [EVEX_Vpackusdw_xmm_k1z_xmm_xmmm128b32 EVEX_Vpackusdw_ymm_k1z_ymm_ymmm256b32 EVEX_Vpackusdw_zmm_k1z_zmm_zmmm512b32];
    vpackuswb 3
        [VEX_Vpackuswb_xmm_xmm_xmmm128 VEX_Vpackuswb_ymm_ymm_ymmm256]
        [EVEX_Vpackuswb_xmm_k1z_xmm_xmmm128 EVEX_Vpackuswb_ymm_k1z_ymm_ymmm256 EVEX_Vpackuswb_zmm_k1z_zmm_zmmm512];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every encoding is of the instruction that its row names, with the prefix and for the width that its place says.
    #[test]
    fn encodings_stand_where_they_belong() {
        let widths = ["xmm", "ymm", "zmm"];
        let mut count = 0;
        for (name, Forms { vex, evex }) in all() {
            let places = vex.iter().enumerate().map(|(width, code)| ("VEX_", width, code));
            let places = places.chain(evex.iter().enumerate().map(|(width, code)| ("EVEX_", width, code)));
            for (prefix, width, code) in places.filter(|place| *place.2 != Code::INVALID) {
                let text = format!("{code:?}");
                let rest = text.strip_prefix(prefix).unwrap_or_else(|| panic!("{name}: {text}"));
                let (mnemonic, operands) = rest.split_once('_').expect("an instruction with operands");
                assert_eq!(mnemonic.to_lowercase(), name.split('_').next().unwrap(), "{text}");
                let widest = widths.iter().rposition(|width| operands.contains(width));
                assert_eq!(widest, Some(width), "{name}: {text}");
                count += 1;
            }
        }
        assert_eq!(count, 335);
    }
}
